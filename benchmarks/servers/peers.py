"""MLServer, LitServe and BentoML, each with its own batching on. README.md tells why each is set up so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, Mapping, Sequence

from benchmarks.environments import ROOT, peer_python
from benchmarks.payloads import HttpRequest, grpc_raw, grpc_typed, v1, v2_bytes, v2_json
from benchmarks.processes import ProcessGroup
from benchmarks.servers.base import Build, GrpcBuild, Server
from kserve_wrapper.core.sockets import free_port

PEERS = ROOT / "benchmarks" / "peers"
MODEL = ROOT / "model-archiver" / "model-store" / "mnist"

#: Milliseconds that a batch may wait for more requests.
WINDOW_MS = 5
#: Rows that a batch may hold.
BATCH = 64


def environment(network: str, **more: str) -> Dict[str, str]:
    return {"PYTHONPATH": str(PEERS), "MODEL_DIRECTORY": str(MODEL), "NETWORK": network, **more}


class MLServer(Server):
    name = "mlserver"
    ready_path = "/v2/models/mnist/ready"

    def __init__(self, network: str = "frozen") -> None:
        super().__init__()
        self.network = network

    def launch(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        http, grpc, metrics = free_port(), free_port(), free_port()
        settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
        settings["debug"] = False
        model = {
            "name": "mnist",
            "implementation": "mlserver_model.Mnist",
            "max_batch_size": BATCH,
            "max_batch_time": WINDOW_MS / 1000,
        }
        (directory / "settings.json").write_text(json.dumps(settings))
        (directory / "model-settings.json").write_text(json.dumps(model))
        command = [str(peer_python("mlserver").with_name("mlserver")), "start", str(directory)]
        self.http, self.grpc = f"127.0.0.1:{http}", f"127.0.0.1:{grpc}"
        self.groups = [ProcessGroup("mlserver", command, directory, environment(self.network))]

    def forms(self) -> Mapping[str, Build]:
        path = "/v2/models/mnist/infer"
        return {
            "base64": lambda images: v2_bytes(path, images, content_type="base64"),
            "v2-bytes": lambda images: v2_bytes(path, images, content_type="base64"),
            "v2-json": lambda images: v2_json(path, images),
        }

    def grpc_forms(self) -> Mapping[str, GrpcBuild]:
        return {
            "grpc-typed": lambda images: grpc_typed("mnist", images),
            "grpc-raw": lambda images: grpc_raw("mnist", images),
        }


class LitServe(Server):
    name = "litserve"
    ready_path = "/health"

    def __init__(self, network: str = "frozen") -> None:
        super().__init__()
        self.network = network

    def launch(self, directory: Path) -> None:
        port = free_port()
        own = environment(self.network, PORT=str(port), WINDOW_MS=str(WINDOW_MS))
        command = [str(peer_python("litserve")), str(PEERS / "litserve_server.py")]
        self.http = f"127.0.0.1:{port}"
        self.groups = [ProcessGroup("litserve", command, directory, own)]

    def forms(self) -> Mapping[str, Build]:
        return {"base64": lambda images: v1("/predict", images)}


class BentoML(Server):
    name = "bentoml"
    ready_path = "/readyz"

    def __init__(self, network: str = "frozen") -> None:
        super().__init__()
        self.network = network

    def launch(self, directory: Path) -> None:
        port = free_port()
        own = environment(
            self.network,
            LATENCY_MS="10000",
            BENTOML_HOME=str(directory / "home"),
            BENTOML_DO_NOT_TRACK="True",
        )
        command = [str(peer_python("bentoml")), "-m", "bentoml", "serve", "bentoml_service:Mnist"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(PEERS)]
        self.http = f"127.0.0.1:{port}"
        self.groups = [ProcessGroup("bentoml", command, directory, own)]

    def forms(self) -> Mapping[str, Build]:
        return {"base64": _bento_request}


def _bento_request(images: Sequence[bytes]) -> HttpRequest:
    instances = json.loads(v1("/predict", images).body)["instances"]
    body = json.dumps({"images": [instance["data"] for instance in instances]}).encode()
    return HttpRequest("/predict", body, len(images))
