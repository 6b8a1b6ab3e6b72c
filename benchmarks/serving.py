"""Serving load: this project against TorchServe alone, the peers and the stock wrapper, interleaved in one run."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from benchmarks import machine
from benchmarks.cases import FULL, SHORT, Case
from benchmarks.check import check
from benchmarks.latency import latency_curves
from benchmarks.measure import Record, can, measure
from benchmarks.output import add_output, write_result
from benchmarks.quiet import Quiet, add_patience
from benchmarks.servers.base import Server
from benchmarks.servers.choice import ALL, SHORT_NAMES, choose
from benchmarks.servers.stock import add_stock, stock_parts
from benchmarks.servers.tuned import Tuned
from benchmarks.stats import interleaved


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def start_all(servers: Sequence[Server], directory: Path) -> None:
    """Tries what is open of each by itself, then starts them one after the other: none slows another's start down."""
    for server in servers:
        server.beside_others = len(servers) > 1
        if isinstance(server, Tuned):
            server.try_all(directory, 2)
    for server in servers:
        say(f"starting {server.name}")
        server.start(directory / server.name)
        case = Case("base64", 16)
        if can(server, case):
            measure(server, case, 3, directory)  # Java compiles what is hot, thread pools fill
        server.rest()


def rounds(
    servers: Sequence[Server], cases: Sequence[Case], count: int, seconds: float, at: Path, quiet: Quiet
) -> List[Record]:
    """``count`` rounds of all cases; within a round the servers take turns at each, in a rotated order."""
    able = {server.name: server for server in servers}
    records = {case: {s.name: Record(s.name, case) for s in servers if can(s, case)} for case in cases}
    for case, ours in records.items():
        for name, record in ours.items():
            record.fault = prepare(able[name], case, at)
    for number in range(count):
        for case, ours in records.items():
            for name in interleaved([name for name in ours if not ours[name].fault], number):
                try:
                    figures, usage = quiet.run(measure, able[name], case, max(seconds, case.least_seconds), at)
                except Exception as error:
                    ours[name].fault = fault_of(case, able[name], error)
                    continue
                ours[name].add(figures, usage)
                errors = f", {figures.errors} ERRORS" if figures.errors else ""
                say(f"{case.name}: {name}: {figures.requests_per_second:.0f}/s, p50 {figures.p50_ms:.1f} ms{errors}")
    return [record for ours in records.values() for record in ours.values()]


def prepare(server: Server, case: Case, directory: Path) -> str:
    """Checks the answers and warms up; the reason where the server cannot be measured, else nothing."""
    try:
        check(server, case)
        measure(server, case, 1, directory)
    except Exception as error:
        return fault_of(case, server, error)
    return ""


def fault_of(case: Case, server: Server, error: Exception) -> str:
    """What is said of it: one server's fault must not cost the others' figures."""
    reason = f"{type(error).__name__}: {str(error)[:400]}"
    say(f"{case.name}: {server.name}: {reason}")
    return reason


def run(given: argparse.Namespace) -> Dict[str, Any]:
    names = given.servers or (SHORT_NAMES if given.short else ALL)
    cases = [case for case in (SHORT if given.short else FULL) if not given.cases or case.form in given.cases]
    if given.connections:
        cases = [case for case in cases if case.connections in given.connections]
    counts = sorted({case.connections for case in cases})
    servers = choose(names, given.peer_network, stock_parts(given), given.windows, counts)
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        result: Dict[str, Any] = {"kind": "serving", "machine": machine.describe(), "seconds": given.seconds}
        result["peer_network"] = given.peer_network
        try:
            start_all(servers, directory)
            result["windows"] = {one.name: one.tried for one in servers if isinstance(one, Tuned)}
            quiet = Quiet(given.patience)
            records = rounds(servers, cases, given.rounds, given.seconds, directory, quiet)
            result["machine"]["steal"] = quiet.to_json()
            result["runs"] = [record.to_json() for record in records]
            if not given.short and not given.no_latency:
                result["latency"] = latency_curves(servers, given.seconds, given.rounds, directory)
        finally:
            for server in servers:
                server.stop()
    return result


def parse(arguments: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks serving", description=__doc__)
    parser.add_argument("--short", action="store_true", help="this project and TorchServe alone, a few cases")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every case (default: 3)")
    parser.add_argument("--seconds", type=float, default=3, help="seconds of load a round (default: 3)")
    parser.add_argument("--servers", nargs="+", choices=ALL, help="default: all, the stock wrapper where given")
    parser.add_argument("--cases", nargs="+", metavar="FORM", help="only these forms (base64, v2-json …)")
    parser.add_argument("--connections", type=int, nargs="+", metavar="N", help="only cases of so many")
    parser.add_argument(
        "--windows",
        type=float,
        nargs="+",
        metavar="MS",
        default=[0, 1, 5],
        help="the peers' batching delays to try; the best is taken for each number of connections (default: 0 1 5)",
    )
    parser.add_argument("--no-latency", action="store_true", help="without the open-loop latency curves")
    parser.add_argument(
        "--peer-network",
        choices=["frozen", "eager"],
        default="frozen",
        help="how the peers run the network: fused like ours (default), or as the file has it",
    )
    add_stock(parser)
    add_patience(parser)
    add_output(parser)
    return parser.parse_args(arguments)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    given = parse(arguments)
    result = run(given)
    write_result(result, given)
    void = [f"{one['server']}: {json.dumps(one['form'])}" for one in result["runs"] if one["void"]]
    if void:
        say(f"void, because of errors: {', '.join(void)}")
    return 1 if any(one["void"] and one["server"] == "ours" for one in result["runs"]) else 0
