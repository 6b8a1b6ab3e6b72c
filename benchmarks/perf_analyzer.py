"""NVIDIA's perf_analyzer on our server: HTTP with JSON, HTTP with binary tensors and gRPC, at 1 to 64 at a time.

The program is a user's own, taken as it is. It is looked for as PERF_ANALYZER (a command line) and on the PATH. PyPI's
package perf-analyzer has it, for glibc 2.38 and later; elsewhere it runs by a newer system's loader:
PERF_ANALYZER="…/ld-linux-x86-64.so.2 --library-path … …/perf_analyzer".
"""

from __future__ import annotations

import argparse
import csv
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from benchmarks import machine
from benchmarks.output import add_output, write_result
from benchmarks.quiet import Quiet, add_patience
from benchmarks.servers.ours import Ours
from benchmarks.serving import start_all

FORMS: Mapping[str, Sequence[str]] = {
    "HTTP JSON": ("-i", "http", "--input-tensor-format", "json", "--output-tensor-format", "json"),
    "HTTP binary": ("-i", "http", "--input-tensor-format", "binary", "--output-tensor-format", "binary"),
    "gRPC": ("-i", "grpc"),
}
CONCURRENCY = (1, 2, 4, 8, 16, 32, 64)
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


def measure(form: str, concurrency: int, address: str, given: argparse.Namespace, directory: Path) -> Dict[str, Any]:
    """One case: its own figures, and whether it calls them stable. Raises NotMeasured."""
    figures = _figures(form, concurrency, address, given, given.stability, directory)
    stable = figures is not None
    # It reports nothing that it does not call stable.
    figures = figures or _figures(form, concurrency, address, given, _ANYTHING, directory)
    if figures is None:
        raise NotMeasured(f"perf_analyzer, {form} at {concurrency}: no figures")
    return {"form": form, "concurrency": concurrency, "stable": stable, **figures}


def _figures(
    form: str, concurrency: int, address: str, given: argparse.Namespace, stability: int, directory: Path
) -> Optional[Dict[str, float]]:
    """Its figures; None where they are not stable.

    Zeros are pixels; its random floats have NaN among them, which images do not.

    Raises:
        NotMeasured: it ended with an error, or counted one.
    """
    report = directory / "report.csv"
    report.unlink(missing_ok=True)
    command = [*program(), "-m", "mnist", "-u", address, *FORMS[form], "--input-data", "zero", "-f", str(report)]
    command += ["--concurrency-range", str(concurrency), "-p", str(int(given.seconds * 1000)), "-s", str(stability)]
    command += ["-r", str(given.trials)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT)
    said = ran.stdout + ran.stderr
    if _UNSTABLE in said and not report.exists():
        return None
    if ran.returncode or not report.exists() or "error" in said.lower():
        raise NotMeasured(f"perf_analyzer, {form} at {concurrency}: status {ran.returncode}\n{said[-2000:]}")
    with report.open() as file:
        [row] = csv.DictReader(file)
    return {name: float(row[column]) for column, name in _COLUMNS.items()}


def run(given: argparse.Namespace) -> Dict[str, Any]:
    """All cases, one after the other: nothing is compared."""
    quiet, described = Quiet(given.patience), machine.describe()
    server = Ours()
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        try:
            start_all([server], directory)
            runs = []
            for form in FORMS:
                address = server.grpc if form == "gRPC" else server.http
                for concurrency in given.concurrency:
                    runs.append(quiet.run(measure, form, concurrency, address, given, directory))
                    print(runs[-1], file=sys.stderr, flush=True)
        finally:
            server.stop()
    described["steal"] = quiet.to_json()
    asked = {"seconds": given.seconds, "stability": given.stability, "trials": given.trials, "program": version()}
    return {"kind": "perf_analyzer", "machine": described, "asked": asked, "runs": runs}


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
