"""Our server with flags of the wrapper set one way and another: rate, CPU time a request and latency, interleaved.

With ``--model minilm`` clients send texts of unequal lengths: ``batching=false batching=true --connections 1 32`` shows
what ragged batches are worth.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from benchmarks import machine
from benchmarks.cases import Case
from benchmarks.output import add_output, write_result
from benchmarks.quiet import Quiet, add_patience
from benchmarks.servers.base import Server
from benchmarks.servers.models import MODELS, OursModel, add_models_in, prepare
from benchmarks.servers.ours import Ours
from benchmarks.serving import rounds, start_all

FORMS = ("v1-base64", "v2-binary")
CONNECTIONS = (1, 64)


def variant(flags: str, folder: Optional[Path] = None) -> Ours:
    """Ours with ``FLAG=VALUE,…``, named so; with MiniLM as ``prepare`` made it instead of MNIST."""
    words = [word for pair in flags.split(",") for word in ("--" + pair).split("=", 1)]
    server = Ours(flags=words) if folder is None else OursModel(MODELS["minilm"], folder, flags=words)
    server.name = flags
    return server


def run(given: argparse.Namespace) -> Dict[str, Any]:
    quiet = Quiet(given.patience)
    folder = prepare(MODELS["minilm"], given.models_in) if given.model == "minilm" else None
    servers: List[Server] = [variant(flags, folder) for flags in given.variants]
    cases = [Case(form, connections) for form in FORMS for connections in given.connections]
    if folder is not None:
        cases = [Case("base64", connections, pictures="texts") for connections in given.connections]
    described = machine.describe()
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        try:
            start_all(servers, directory)
            records = rounds(servers, cases, given.rounds, given.seconds, directory, quiet)
        finally:
            for server in servers:
                server.stop()
    described["steal"] = quiet.to_json()
    return {
        "kind": "flags",
        "model": given.model,
        "machine": described,
        "runs": [record.to_json() for record in records],
    }


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks flags", description=__doc__)
    parser.add_argument("variants", nargs="+", metavar="FLAG=VALUE,…", help="such as pipelining=true pipelining=false")
    parser.add_argument("--model", choices=("mnist", "minilm"), default="mnist", help="(default: mnist)")
    add_models_in(parser)
    parser.add_argument("--rounds", type=int, default=10, help="rounds of every case (default: 10)")
    parser.add_argument("--seconds", type=float, default=3, help="seconds of load a round (default: 3)")
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS), help="default: 1 64")
    add_patience(parser)
    add_output(parser)
    given = parser.parse_args(arguments)
    write_result(run(given), given)
    return 0
