"""The wrapper behind its own HTTP server, uvicorn's and granian's: CPU time a request and latency, interleaved."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from benchmarks import machine
from benchmarks.cases import Case
from benchmarks.environments import PEERS
from benchmarks.http_servers.__main__ import NAMES
from benchmarks.output import add_output, write_result
from benchmarks.quiet import Quiet, add_patience
from benchmarks.servers.base import Server
from benchmarks.servers.front import Front
from benchmarks.servers.ours import Ours
from benchmarks.serving import rounds, start_all

FORMS = ("v1-base64", "v2-binary")
CONNECTIONS = (1, 64)


def run(given: argparse.Namespace) -> Dict[str, Any]:
    # Tokens would be TorchServe's own secret in each process that it did not start.
    behind = Ours({"disable_token_authorization": "true"})
    quiet = Quiet(given.patience)
    servers: List[Server] = [Front(name, behind) for name in given.servers]
    cases = [Case(form, connections) for form in FORMS for connections in CONNECTIONS]
    described = machine.describe()
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        try:
            behind.start(directory / "behind")
            start_all(servers, directory)
            records = rounds(servers, cases, given.rounds, given.seconds, directory, quiet)
        finally:
            for server in [*servers, behind]:
                server.stop()
    described["steal"] = quiet.to_json()
    described["versions"].update(pin.split("==") for library in ("uvicorn", "granian") for pin in PEERS[library])
    return {"kind": "http", "machine": described, "runs": [record.to_json() for record in records]}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks http", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="rounds of every case (default: 10)")
    parser.add_argument("--seconds", type=float, default=3, help="seconds of load a round (default: 3)")
    parser.add_argument("--servers", nargs="+", choices=NAMES, default=NAMES, help="default: all")
    add_patience(parser)
    add_output(parser)
    given = parser.parse_args(arguments)
    write_result(run(given), given)
    return 0
