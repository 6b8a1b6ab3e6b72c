"""What the hardware allows: the same batches in-process, TorchServe with an empty handler, and what is served."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from benchmarks import machine
from benchmarks.cases import Case
from benchmarks.measure import measure
from benchmarks.output import add_output, write_result
from benchmarks.quiet import Quiet, add_patience
from benchmarks.servers import archives
from benchmarks.servers.base import Server
from benchmarks.servers.ours import Ours
from benchmarks.servers.torchserve import TorchServeEmpty
from benchmarks.stats import interleaved
from benchmarks.worker.process import Worker

#: Rows of the in-process batches; the largest is what 64 connections can bring together.
ROWS = (1, 8, 16, 32, 64)
#: Rows of one request, of those that are served.
ROWS_SERVED = (1, 8, 64)


def run(given: argparse.Namespace) -> Dict[str, Any]:
    inside: List[Dict[str, float]] = []
    served: List[Dict[str, Any]] = []
    quiet = Quiet(given.patience)
    servers: List[Server] = [Ours(), TorchServeEmpty(1), TorchServeEmpty(32)]
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        worker = Worker(archives.ours(directory / "ours"), directory / "worker")
        try:
            for server in servers:
                server.start(directory / server.name)
            for number in range(given.rounds):
                for rows in interleaved([str(one) for one in ROWS], number):
                    figures = quiet.run(worker.ask, do="serve", rows=int(rows), seconds=given.seconds)
                    inside.append({"rows": int(rows), **figures})
                    print(f"in-process, {rows} rows: {figures['rows_per_second']:.0f}/s", file=sys.stderr, flush=True)
                for server in servers:
                    for case in _cases(server, given.connections):
                        measure(server, case, 1, directory)
                        if isinstance(server, Ours):
                            served.append(quiet.run(_ours, server, case, given, directory, worker))
                        else:
                            served.append(quiet.run(_served, server, case, given, directory))
        finally:
            worker.stop()
            for server in servers:
                server.stop()
    described = {**machine.describe(), "steal": quiet.to_json()}
    return {"kind": "limit", "machine": described, "inside": inside, "served": served}


def _cases(server: Server, connections: Sequence[int]) -> List[Case]:
    """One row a request, and for ours more rows too: the rows that arrive are the limit's, whoever batches them."""
    form = next(iter(server.forms()))
    rows = ROWS_SERVED if isinstance(server, Ours) else (1,)
    return [Case(form, count, many) for count in connections for many in rows]


def _served(server: Server, case: Case, given: argparse.Namespace, directory: Path) -> Dict[str, Any]:
    figures, usage = measure(server, case, given.seconds, directory)
    print(f"{server.name}, {case.name}: {figures.requests_per_second:.0f}/s", file=sys.stderr, flush=True)
    described = {"server": server.name, "connections": case.connections, "rows": case.rows}
    rows_per_second = figures.requests_per_second * case.rows
    return {**described, "cpu_s": usage.cpu_s, **figures.to_json(), "rows_per_second": rows_per_second}


def _ours(server: Ours, case: Case, given: argparse.Namespace, directory: Path, worker: Worker) -> Dict[str, Any]:
    """One case's figures with the rows of its batches, and the rate of as large batches in-process, right after."""
    before = server.batches()
    figures = _served(server, case, given, directory)
    batches, rows = (now - then for now, then in zip(server.batches(), before))
    size = max(1, round(rows / max(1, batches)))
    inside = worker.ask(do="serve", rows=size, seconds=given.seconds)["rows_per_second"]
    return {**figures, "rows_per_batch": size, "inside": inside}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks limit", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--seconds", type=float, default=3, help="seconds of load a round (default: 3)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 64], help="default: 1 64")
    add_patience(parser)
    add_output(parser)
    given = parser.parse_args(arguments)
    write_result(run(given), given)
    return 0
