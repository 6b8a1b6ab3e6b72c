"""As much of a Kubernetes API server as ``kubectl apply --dry-run=client`` asks for: which kinds there are."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Iterator

_CORE = {
    "pods": "Pod",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "secrets": "Secret",
    "serviceaccounts": "ServiceAccount",
}
_GROUPS = {
    "serving.kserve.io/v1beta1": {"inferenceservices": "InferenceService"},
    "serving.kserve.io/v1alpha1": {
        "servingruntimes": "ServingRuntime",
        "clusterservingruntimes": "ClusterServingRuntime",
        "inferencegraphs": "InferenceGraph",
        "localmodelcaches": "LocalModelCache",
        "localmodelnodegroups": "LocalModelNodeGroup",
    },
    "gateway.networking.k8s.io/v1": {"gateways": "Gateway", "httproutes": "HTTPRoute"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
    "keda.sh/v1alpha1": {"scaledobjects": "ScaledObject"},
}
_CLUSTER_WIDE = {"ClusterServingRuntime", "LocalModelCache", "LocalModelNodeGroup"}


def _resources(version: str, kinds: dict[str, str]) -> dict[str, Any]:
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": [
            {
                "name": plural,
                "singularName": kind.lower(),
                "namespaced": kind not in _CLUSTER_WIDE,
                "kind": kind,
                "verbs": ["create", "get", "patch"],
            }
            for plural, kind in kinds.items()
        ],
    }


def _groups() -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, str]]] = {}
    for name in _GROUPS:
        group, _, version = name.partition("/")
        found.setdefault(group, []).append({"groupVersion": name, "version": version})
    return [{"name": name, "versions": each, "preferredVersion": each[0]} for name, each in found.items()]


_ANSWERS: dict[str, dict[str, Any]] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/api/v1": _resources("v1", _CORE),
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups()},
    **{f"/apis/{version}": _resources(version, kinds) for version, kinds in _GROUPS.items()},
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = _ANSWERS.get(self.path.partition("?")[0])
        absent = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        body = json.dumps(answer or absent).encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet: pytest shows the client's side."""


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """The address of a stand-in on a free port of loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
