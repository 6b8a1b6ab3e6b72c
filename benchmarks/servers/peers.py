"""The peers that batch by themselves, each with its own batching on. README.md tells why each is set up so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, Mapping, Sequence

from benchmarks.environments import ROOT, peer_python
from benchmarks.images import pngs
from benchmarks.payloads import HttpRequest, grpc_raw, grpc_typed, v1, v2_bytes, v2_json
from benchmarks.processes import ProcessGroup
from benchmarks.servers.base import Build, GrpcBuild, Server
from kserve_wrapper.core.sockets import free_port

PEERS = ROOT / "benchmarks" / "peers"
MODEL = ROOT / "model-archiver" / "model-store" / "mnist"

#: Rows that a batch may hold.
BATCH = 64
#: Added to the name of a peer that has this project's decode and forward inside.
SAME = "-same"


class Peer(Server):
    """A peer in one way of running the network, with one batching delay.

    Args:
        network: frozen, eager or ours, see ``peers/network.py``.
        window_ms: how long a batch may wait for more requests.
    """

    #: Whether its users choose a delay at all.
    has_window = True

    def __init__(self, network: str = "frozen", window_ms: float = 5) -> None:
        super().__init__()
        self.network = network
        self.window_ms = window_ms
        #: What a peer is asked that has no other way to tell that it is ready.
        self.question = pngs(1)
        self.name = type(self).name + (SAME if network == "ours" else "")

    def environment(self, **more: str) -> Dict[str, str]:
        # The project itself is in sight only where its handler is wanted.
        paths = [str(PEERS)] + ([str(ROOT)] if self.network == "ours" else [])
        own = {"PYTHONPATH": ":".join(paths), "MODEL_DIRECTORY": str(MODEL), "NETWORK": self.network}
        return {**own, "WINDOW_MS": f"{self.window_ms:g}", **more}


class MLServer(Peer):
    name = "mlserver"
    ready_path = "/v2/models/mnist/ready"

    def launch(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        http, grpc, metrics = free_port(), free_port(), free_port()
        settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
        settings["debug"] = False
        model = {
            "name": "mnist",
            "implementation": "mlserver_model.Mnist",
            "max_batch_size": BATCH,
            "max_batch_time": self.window_ms / 1000,
        }
        (directory / "settings.json").write_text(json.dumps(settings))
        (directory / "model-settings.json").write_text(json.dumps(model))
        command = [str(peer_python("mlserver").with_name("mlserver")), "start", str(directory)]
        self.http, self.grpc = f"127.0.0.1:{http}", f"127.0.0.1:{grpc}"
        self.groups = [ProcessGroup("mlserver", command, directory, self.environment())]

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


class LitServe(Peer):
    name = "litserve"
    ready_path = "/health"

    def launch(self, directory: Path) -> None:
        port = free_port()
        own = self.environment(PORT=str(port))
        command = [str(peer_python("litserve")), str(PEERS / "litserve_server.py")]
        self.http = f"127.0.0.1:{port}"
        self.groups = [ProcessGroup("litserve", command, directory, own)]

    def forms(self) -> Mapping[str, Build]:
        return {"base64": lambda images: v1("/predict", images)}


class BentoML(Peer):
    name = "bentoml"
    has_window = False  # its dispatcher finds one by itself
    ready_path = "/readyz"

    def launch(self, directory: Path) -> None:
        port = free_port()
        own = self.environment(
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
