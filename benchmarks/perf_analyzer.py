"""NVIDIA's perf_analyzer on our server, and on Triton: HTTP with JSON and with binary tensors, gRPC, at 1 to 64.

The program is a user's own, taken as it is. It is looked for as PERF_ANALYZER (a command line) and on the PATH. PyPI's
package perf-analyzer has it, for glibc 2.38 and later; elsewhere it runs by a newer system's loader:
PERF_ANALYZER="…/ld-linux-x86-64.so.2 --library-path … …/perf_analyzer".
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from benchmarks import machine
from benchmarks.cases import Case
from benchmarks.output import add_output, write_result
from benchmarks.quiet import Quiet, add_patience
from benchmarks.servers.base import Server
from benchmarks.servers.choice import choose
from benchmarks.servers.tuned import Tuned
from benchmarks.serving import say, start_all

FORMS: Mapping[str, Sequence[str]] = {
    "HTTP JSON": ("-i", "http", "--input-tensor-format", "json", "--output-tensor-format", "json"),
    "HTTP binary": ("-i", "http", "--input-tensor-format", "binary", "--output-tensor-format", "binary"),
    "gRPC": ("-i", "grpc"),
}
CONCURRENCY = (1, 2, 4, 8, 16, 32, 64)
SERVERS = ("ours", "triton", "triton-same")
#: What its table is called in its own report, and here.
_COLUMNS = {
    "Inferences/Second": "per_second",
    "p50 latency": "p50_us",
    "p90 latency": "p90_us",
    "p99 latency": "p99_us",
}
_UNSTABLE = "Failed to obtain stable measurement"
#: Percent by which windows may differ where any figures will do.
_ANYTHING = 999
#: Seconds that one case may take.
_LIMIT = 120


class NotMeasured(Exception):
    """It is not installed, or it failed; the message says which."""


def program() -> List[str]:
    """Its command line; empty where it is not installed."""
    found = shutil.which("perf_analyzer")
    return shlex.split(os.environ.get("PERF_ANALYZER", "")) or ([found] if found else [])


def measure(server: Server, form: str, concurrency: int, given: argparse.Namespace, directory: Path) -> Dict[str, Any]:
    """One case: its own figures, and whether it calls them stable. Raises NotMeasured."""
    server = server.for_case(Case("grpc-raw" if form == "gRPC" else "v2-binary", concurrency))
    with server.turn():
        figures = _figures(server, form, concurrency, given, given.stability, directory)
        stable = figures is not None
        # It reports nothing that it does not call stable.
        figures = figures or _figures(server, form, concurrency, given, _ANYTHING, directory)
    if figures is None:
        raise NotMeasured(f"perf_analyzer on {server.name}, {form} at {concurrency}: no figures")
    return {"server": server.name, "form": form, "concurrency": concurrency, "stable": stable, **figures}


def _figures(
    server: Server, form: str, concurrency: int, given: argparse.Namespace, stability: int, directory: Path
) -> Optional[Dict[str, float]]:
    """Its figures; None where they are not stable.

    Zeros are pixels; its random floats have NaN among them, which images do not.

    Raises:
        NotMeasured: it ended with an error, or counted one.
    """
    report = directory / "report.csv"
    report.unlink(missing_ok=True)
    address = str(server.grpc if form == "gRPC" else server.http)
    command = [*program(), "-m", server.tensor_model, "-u", address, *FORMS[form]]
    command += ["--input-data", "zero", "-f", str(report)]
    command += ["--concurrency-range", str(concurrency), "-p", str(int(given.seconds * 1000)), "-s", str(stability)]
    command += ["-r", str(given.trials)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT)
    said = ran.stdout + ran.stderr
    if _UNSTABLE in said and not report.exists():
        return None
    if ran.returncode or not report.exists() or "error" in said.lower():
        cause = f"status {ran.returncode}\n{said[-2000:]}"
        raise NotMeasured(f"perf_analyzer on {server.name}, {form} at {concurrency}: {cause}")
    with report.open() as file:
        [row] = csv.DictReader(file)
    return {name: float(row[column]) for column, name in _COLUMNS.items()}


def run(given: argparse.Namespace) -> Dict[str, Any]:
    """All cases; at each the servers take turns."""
    quiet, described = Quiet(given.patience), machine.describe()
    servers = choose(given.servers, "frozen", None, given.windows, given.concurrency)
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        try:
            start_all(servers, directory)
            tried = {one.name: one.tried for one in servers if isinstance(one, Tuned)}
            runs = []
            for form, concurrency, server in itertools.product(FORMS, given.concurrency, servers):
                runs.append(quiet.run(measure, server, form, concurrency, given, directory))
                say(str(runs[-1]))
        finally:
            for server in servers:
                server.stop()
    described["steal"] = quiet.to_json()
    asked = {"seconds": given.seconds, "stability": given.stability, "trials": given.trials, "program": version()}
    return {"kind": "perf_analyzer", "machine": described, "asked": asked, "windows": tried, "runs": runs}


def version() -> str:
    """As it tells it."""
    ran = subprocess.run([*program(), "--version"], capture_output=True, text=True, timeout=_LIMIT)
    return " ".join((ran.stdout or ran.stderr).split())


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks perf_analyzer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--concurrency", type=int, nargs="+", default=CONCURRENCY, help="requests at a time (1 to 64)")
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=SERVERS, help="default: all")
    parser.add_argument(
        "--windows", type=float, nargs="+", metavar="MS", default=[0, 1, 5], help="Triton's delays to try (0 1 5)"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds of one of its windows (default: 1)")
    parser.add_argument("--stability", type=int, default=10, help="percent by which three may differ (default: 10)")
    parser.add_argument("--trials", type=int, default=10, help="windows at most (default: 10)")
    add_patience(parser)
    add_output(parser)
    given = parser.parse_args(arguments)
    if not program():
        print("perf_analyzer is not installed (PyPI: perf-analyzer), or PERF_ANALYZER not set", file=sys.stderr)
        return 2
    try:
        write_result(run(given), given)
    except NotMeasured as error:
        print(error, file=sys.stderr)
        return 1
    return 0
