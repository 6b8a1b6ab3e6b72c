"""The report of a run of perf_analyzer on our server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping

from benchmarks.reports.markdown import heading, number, table

_HEADER = ["at a time", "requests/s", "p50 ms", "p90 ms", "p99 ms", "stable"]


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown: a table a form, a row for each number of requests at a time."""
    asked = result["asked"]
    parts = [
        heading("perf_analyzer on our server", result["machine"], interleaved=False),
        f"{asked['program']}, unmodified, on MNIST in the documented configuration; its own figures. One image a "
        f"request; windows of {asked['seconds']:g} s, stable where three in a row differ by {asked['stability']}% at "
        f"most, within {asked['trials']}. Client and server share the machine's cores: no limits of the server.",
    ]
    for form in dict.fromkeys(run["form"] for run in result["runs"]):
        rows = [_row(run) for run in result["runs"] if run["form"] == form]
        parts += [f"## {form}", table(_HEADER, rows)]
    return "\n\n".join(parts)


def _row(run: Mapping[str, Any]) -> List[str]:
    times = [number(run[name] / 1000) for name in ("p50_us", "p90_us", "p99_us")]
    return [str(run["concurrency"]), number(run["per_second"]), *times, "yes" if run["stable"] else "no"]
