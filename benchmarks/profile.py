"""The budget of one request at 64 connections: CPU microseconds by process, thread and function."""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from benchmarks import machine
from benchmarks.cases import Case
from benchmarks.load.figures import LoadFigures
from benchmarks.measure import measure
from benchmarks.output import add_output, write_result
from benchmarks.sampling import collapse, record, threads_cpu
from benchmarks.servers.base import Server
from benchmarks.servers.ours import Ours


def python_processes(server: Server) -> Dict[str, int]:
    """Process ids of the wrapper and the worker (the busiest of each)."""
    from benchmarks.processes import role_of

    found: Dict[str, int] = {}
    most: Dict[str, float] = {}
    for group in server.groups:
        for process in group.members():
            role, times = role_of(process.cmdline(), group.role), process.cpu_times()
            if role in ("wrapper", "worker") and times.user + times.system >= most.get(role, 0):
                found[role], most[role] = process.pid, times.user + times.system
    return found


def sampled(server: Server, case: Case, seconds: float, directory: Path) -> Dict[str, Dict[str, float]]:
    """Shares of the wrapper's and the worker's time by function, from py-spy while the load runs."""
    shares: Dict[str, Dict[str, float]] = {}
    for role, pid in python_processes(server).items():
        box: List[str] = []
        thread = threading.Thread(target=lambda: box.append(record(pid, seconds - 1, directory)))  # noqa: B023
        thread.start()
        measure(server, case, seconds, directory)
        thread.join()
        shares[role] = collapse(box[0])
    return shares


def run(given: argparse.Namespace) -> Dict[str, Any]:
    case = Case(given.form, given.connections)
    server = Ours()
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        try:
            server.start(directory / "ours")
            measure(server, case, 2, directory)
            rounds = []
            for _ in range(given.rounds):
                before = threads_cpu(server)
                figures, usage = measure(server, case, given.seconds, directory)
                rounds.append(_budget(figures, usage.cpu_s, before, threads_cpu(server)))
                print(f"{figures.requests_per_second:.0f}/s", file=sys.stderr, flush=True)
            shares = {} if given.no_functions else sampled(server, case, given.seconds + 2, directory)
        finally:
            server.stop()
    described = {"form": case.form, "connections": case.connections}
    return {"kind": "profile", "machine": machine.describe(), **described, "rounds": rounds, "functions": shares}


def _budget(
    figures: LoadFigures, cpu_s: Dict[str, float], before: Dict[str, float], after: Dict[str, float]
) -> Dict[str, Any]:
    """CPU microseconds a request of each process and of each group of threads."""
    scale = 1e6 / max(1, figures.requests)
    threads = {name: (cpu - before.get(name, 0.0)) * scale for name, cpu in after.items()}
    return {**figures.to_json(), "processes": {k: v * scale for k, v in cpu_s.items()}, "threads": threads}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks profile", description=__doc__)
    parser.add_argument("--form", default="base64", help="what is sent: base64, v2-json, v2-binary, explain …")
    parser.add_argument("--connections", type=int, default=64, help="default: 64")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--seconds", type=float, default=5, help="seconds of load a round (default: 5)")
    parser.add_argument("--no-functions", action="store_true", help="without py-spy's samples")
    add_output(parser)
    given = parser.parse_args(arguments)
    write_result(run(given), given)
    return 0
