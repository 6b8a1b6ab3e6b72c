"""gRPC beside REST on our server, and grpcio's servers whose handlers do nothing but wait: what the library costs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from benchmarks import machine
from benchmarks.cases import Case
from benchmarks.environments import ROOT
from benchmarks.load.h2load import grpc_call
from benchmarks.output import add_output, write_result
from benchmarks.payloads import grpc_raw
from benchmarks.processes import ProcessGroup
from benchmarks.quiet import Quiet, add_patience
from benchmarks.servers.base import Build, GrpcBuild, Server
from benchmarks.servers.ours import Ours
from benchmarks.serving import rounds, start_all
from kserve_wrapper.core.sockets import free_port


class Waits(Server):
    """One of ``benchmarks.rpc_servers``; its process is counted as a wrapper is."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def launch(self, directory: Path) -> None:
        port = free_port()
        self.grpc = f"127.0.0.1:{port}"
        command = [sys.executable, "-m", "benchmarks.rpc_servers", self.name, str(port)]
        self.groups = [ProcessGroup("wrapper", command, directory, {"PYTHONPATH": str(ROOT)})]

    def is_ready(self) -> bool:
        import grpc

        (message,) = (build(Case("grpc-raw", 1).images()) for build in self.grpc_forms().values())
        try:
            return bool(grpc_call(self.grpc or "", message))
        except grpc.RpcError:
            return False

    def forms(self) -> Mapping[str, Build]:
        return {}

    def grpc_forms(self) -> Mapping[str, GrpcBuild]:
        return {"grpc-raw": lambda images: grpc_raw("mnist", images)}


def run(given: argparse.Namespace) -> Dict[str, Any]:
    quiet = Quiet(given.patience)
    servers: List[Server] = [Ours(), Waits("aio"), Waits("aio-4"), Waits("threads")]
    cases = [Case(form, count) for form in ("v2-binary", "grpc-raw") for count in given.connections]
    described = machine.describe()
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        try:
            start_all(servers, Path(place))
            records = rounds(servers, cases, given.rounds, given.seconds, Path(place), quiet)
        finally:
            for server in servers:
                server.stop()
    described["steal"] = quiet.to_json()
    return {"kind": "rpc", "machine": described, "runs": [record.to_json() for record in records]}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks rpc", description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 64], help="default: 1 64")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every case (default: 5)")
    parser.add_argument("--seconds", type=float, default=3, help="seconds of load a round (default: 3)")
    add_patience(parser)
    add_output(parser)
    given = parser.parse_args(arguments)
    result = run(given)
    write_result(result, given)
    return 1 if any(run["void"] for run in result["runs"]) else 0
