"""The stock KServe runtime: TorchServe 0.9 and the wrapper of pytorch/serve, from a checkout that the user names."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Optional

from benchmarks.payloads import grpc_typed_image, v1, v2_separate_bytes, v2_separate_json
from benchmarks.processes import ProcessGroup, wait_until
from benchmarks.servers.base import Build, GrpcBuild, Server
from benchmarks.servers.torchserve import TorchServe, launch_torchserve, model_ready
from benchmarks.servers.torchserve_config import address
from kserve_wrapper.core.sockets import free_port

LAUNCHER = Path(__file__).with_name("stock_launcher.py")


@dataclass(frozen=True)
class StockParts:
    """Where the stock runtime's parts lie: a checkout of pytorch/serve and a Python that has its packages."""

    checkout: Path
    python: Path


def add_stock(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stock-wrapper", type=Path, metavar="DIR", help="a checkout of pytorch/serve")
    parser.add_argument(
        "--stock-python",
        type=Path,
        metavar="PYTHON",
        default=Path(".venv-stock/bin/python"),
        help="a Python with the stock runtime's packages, kserve and grpcio-tools (default: %(default)s)",
    )


def stock_parts(given: argparse.Namespace) -> Optional[StockParts]:
    """What ``add_stock`` asked for; None where no checkout is named."""
    if given.stock_wrapper is None:
        return None
    return StockParts(given.stock_wrapper.resolve(), given.stock_python.absolute())


class StockWrapper(TorchServe):
    """Stock wrapper and stock TorchServe for one protocol: it answers only the one that it was started for."""

    protocol = "v1"
    envelope = "kserve"

    def __init__(self, parts: StockParts) -> None:
        super().__init__()
        self.parts = parts
        self.name = f"stock-{self.protocol}"

    def launch(self, directory: Path) -> None:
        settings = self.settings(directory / "model-store")
        (model,) = json.loads(settings["model_snapshot"])["models"]
        upstream = launch_torchserve(directory, settings, self.envelope, str(self.parts.python))
        self.groups = [upstream]
        # The stock wrapper tries ten times, 30 s apart: it is started when TorchServe is ready.
        wait_until(lambda: model_ready(address(settings), model), [upstream], 120)
        http, grpc = free_port(), free_port()
        self.http, self.grpc = f"127.0.0.1:{http}", f"127.0.0.1:{grpc}"
        environment = {
            "CONFIG_PATH": str(directory / "config.properties"),
            "PROTOCOL_VERSION": self.protocol,
            "MODEL_LOAD_DELAY": "1",
            "PYTHONPATH": None,
        }
        command = [str(self.parts.python), str(LAUNCHER), str(self.parts.checkout), str(http), str(grpc)]
        self.groups.append(ProcessGroup("wrapper", command, directory, environment))

    def is_ready(self) -> bool:
        return Server.is_ready(self)

    def forms(self) -> Mapping[str, Build]:
        return {
            "base64": lambda images: v1("/v1/models/mnist:predict", images),
            "v1-base64": lambda images: v1("/v1/models/mnist:predict", images),
            "explain": lambda images: v1("/v1/models/mnist:explain", images),
        }


class StockWrapperV2(StockWrapper):
    """The same, started for V2. Each row is an input of its own: the stock envelope reads one element of each."""

    protocol = "v2"
    envelope = "kservev2"
    #: TorchServe's vision handler feeds a tensor to the model as it came.
    normalises = False

    def forms(self) -> Mapping[str, Build]:
        path = "/v2/models/mnist/infer"
        return {
            "v2-bytes": lambda images: v2_separate_bytes(path, images),
            "v2-json": lambda images: v2_separate_json(path, images),
        }

    def grpc_forms(self) -> Mapping[str, GrpcBuild]:
        return {"grpc-typed": lambda images: grpc_typed_image("mnist", images)}
