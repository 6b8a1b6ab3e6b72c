"""Photographs through a network of ResNet-18's shape: ours by its defaults, TorchServe's image_classifier, peers."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from benchmarks import machine
from benchmarks.cases import PHOTOGRAPHS, Case
from benchmarks.output import add_output, write_result
from benchmarks.quiet import Quiet, add_patience
from benchmarks.servers.photographs import NAMES, prepare, servers
from benchmarks.serving import rounds, say


def cases(connections: Sequence[int], pictures: Sequence[str]) -> List[Case]:
    """Each size as base64 (each server's own way), and our V2 binary beside it."""
    forms = ("base64", "v2-binary")
    return [Case(form, count, 1, picture) for picture in pictures for form in forms for count in connections]


def run(given: argparse.Namespace) -> Dict[str, Any]:
    result: Dict[str, Any] = {"kind": "photographs", "machine": machine.describe(), "seconds": given.seconds}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(folder)
        prepare(place)
        up = servers(place, given.servers, given.window)
        try:
            for server in up:
                say(f"starting {server.name}")
                server.start(place / server.name, 300)
            quiet = Quiet(given.patience)
            wanted = cases(given.connections, given.pictures)
            records = rounds(up, wanted, given.rounds, given.seconds, place, quiet)
            result["machine"]["steal"] = quiet.to_json()
            result["runs"] = [record.to_json() for record in records]
        finally:
            for server in up:
                server.stop()
    return result


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks photographs", description=__doc__)
    parser.add_argument("--servers", nargs="+", choices=NAMES, default=list(NAMES), help="default: all")
    parser.add_argument(
        "--pictures", nargs="+", choices=list(PHOTOGRAPHS), default=list(PHOTOGRAPHS), help="default: all"
    )
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64], help="default: 1 16 64")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every case (default: 3)")
    parser.add_argument("--seconds", type=float, default=10, help="seconds of load a round (default: 10)")
    parser.add_argument("--window", type=float, default=5, help="the peers' batching delay in ms (default: 5)")
    add_patience(parser)
    add_output(parser)
    given = parser.parse_args(arguments)
    result = run(given)
    write_result(result, given)
    return 1 if any(one["void"] and one["server"] == "ours" for one in result["runs"]) else 0
