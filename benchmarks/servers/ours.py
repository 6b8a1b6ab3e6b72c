"""This project: supervisor, wrapper and TorchServe with the documented config.properties."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Mapping, Sequence, Tuple

from benchmarks.environments import ROOT
from benchmarks.payloads import grpc_raw, grpc_typed, v1, v2_binary, v2_bytes, v2_json
from benchmarks.processes import ProcessGroup
from benchmarks.servers import archives
from benchmarks.servers.base import Build, GrpcBuild, Server, get
from benchmarks.servers.torchserve_config import java_home
from kserve_wrapper.core.sockets import free_port
from scripts import serving


class Ours(Server):
    """The documented configuration as it stands, on free loopback ports.

    Args:
        settings: properties that differ from the documented ones (several workers, several models …).
        flags: flags of the wrapper beside its ports.
        models: archives to put into the model store; each is the MNIST archive under another name.
    """

    name = "ours"

    def __init__(
        self, settings: Mapping[str, str] = {}, flags: Sequence[str] = (), models: Sequence[str] = ("mnist",)
    ) -> None:
        super().__init__()
        self.settings, self.flags, self.models = dict(settings), list(flags), list(models)

    def launch(self, directory: Path) -> None:
        store = directory / "model-store"
        archive = archives.ours(store)
        for model in self.models:
            if model != "mnist":
                (store / f"{model}.mar").write_bytes(archive.read_bytes())
        http, grpc = free_port(), free_port()
        self.http, self.grpc = f"127.0.0.1:{http}", f"127.0.0.1:{grpc}"
        flags = ["--http_port", str(http), "--grpc_port", str(grpc), *self.flags]
        command = serving.supervisor_command(store, {**serving.free_ports(), **self.settings}, flags)
        environment: Dict[str, str | None] = {"PYTHONPATH": str(ROOT), "JAVA_HOME": java_home()}
        self.groups = [ProcessGroup("supervisor", command, directory, environment)]

    def forms(self) -> Mapping[str, Build]:
        one, two = "/v1/models/mnist", "/v2/models/mnist"
        return {
            "base64": lambda images: v1(f"{one}:predict", images),
            "v1-base64": lambda images: v1(f"{one}:predict", images),
            "explain": lambda images: v1(f"{one}:explain", images),
            "v2-bytes": lambda images: v2_bytes(f"{two}/infer", images),
            "v2-json": lambda images: v2_json(f"{two}/infer", images),
            "v2-binary": lambda images: v2_binary(f"{two}/infer", images),
        }

    def batches(self) -> Tuple[int, int]:
        """Upstream requests since the start, and the rows in them."""
        text = get(self.http, "/metrics")[1].decode()
        counts = dict(re.findall(r"^kserve_wrapper_batch_rows_(count|sum) (\S+)$", text, re.MULTILINE))
        return int(float(counts["count"])), int(float(counts["sum"]))

    def grpc_forms(self) -> Mapping[str, GrpcBuild]:
        return {
            "grpc-typed": lambda images: grpc_typed("mnist", images),
            "grpc-raw": lambda images: grpc_raw("mnist", images),
        }
