"""The strongest servers there are: mosec (its front is in Rust), Triton, Ray Serve; as their documentation has it."""

from __future__ import annotations

import http.client
import sysconfig
from pathlib import Path
from typing import Mapping

from benchmarks.environments import peer_python
from benchmarks.payloads import grpc_raw, v1, v2_binary, v2_binary_bytes, v2_json
from benchmarks.processes import ProcessGroup
from benchmarks.servers.base import Build, GrpcBuild, post
from benchmarks.servers.peers import PEERS, Peer
from kserve_wrapper.supervisor.derived_config import free_port


class AsksItself(Peer):
    """A peer whose readiness only a prediction tells."""

    def is_ready(self) -> bool:
        try:
            return post(self.http, self.forms()["base64"](self.question), timeout=10)[0] == 200
        except (OSError, http.client.HTTPException):
            return False


class Mosec(AsksItself):
    name = "mosec"

    def launch(self, directory: Path) -> None:
        port = free_port()
        command = [str(peer_python("mosec")), str(PEERS / "mosec_server.py"), "--address", "127.0.0.1"]
        command += ["--port", str(port), "--wait", f"{self.window_ms:.0f}", "--timeout", "60000"]
        self.http = f"127.0.0.1:{port}"
        self.groups = [ProcessGroup("mosec", command, directory, self.environment())]

    def forms(self) -> Mapping[str, Build]:
        return {"base64": lambda images: v1("/inference", images)}


class RayServe(AsksItself):
    name = "rayserve"

    def launch(self, directory: Path) -> None:
        port = free_port()
        # Its sockets' names may have 107 letters.
        place = directory / "r"
        own = self.environment(PORT=str(port), RAY_PLACE=str(place), RAY_USAGE_STATS_ENABLED="0", TMPDIR="/tmp")
        command = [str(peer_python("rayserve")), str(PEERS / "rayserve_server.py")]
        self.http = f"127.0.0.1:{port}"
        self.groups = [ProcessGroup("rayserve", command, directory, own)]

    def forms(self) -> Mapping[str, Build]:
        return {"base64": lambda images: v1("/predict", images)}


class Triton(Peer):
    name = "triton"
    tensor_model = "mnist_tensors"
    can_be_held = False  # its processes watch one another by the clock
    ready_path = "/v2/models/mnist/ready"

    def launch(self, directory: Path) -> None:
        ports = {name: str(free_port()) for name in ("PORT", "GRPC_PORT", "METRICS_PORT")}
        # Its Python backend is linked to the interpreter's own library.
        own = self.environment(**ports, LD_LIBRARY_PATH=str(sysconfig.get_config_var("LIBDIR")))
        command = [str(peer_python("triton")), str(PEERS / "triton_server.py")]
        self.http, self.grpc = f"127.0.0.1:{ports['PORT']}", f"127.0.0.1:{ports['GRPC_PORT']}"
        self.groups = [ProcessGroup("triton", command, directory, own)]

    def forms(self) -> Mapping[str, Build]:
        path = f"/v2/models/{self.tensor_model}/infer"
        return {
            "base64": lambda images: v2_binary_bytes("/v2/models/mnist/infer", images),
            "v2-json": lambda images: v2_json(path, images),
            "v2-binary": lambda images: v2_binary(path, images),
        }

    def grpc_forms(self) -> Mapping[str, GrpcBuild]:
        return {"grpc-raw": lambda images: grpc_raw(self.tensor_model, images)}
