"""The report of a run of perf_analyzer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping

from benchmarks.reports.markdown import heading, number, table
from benchmarks.reports.serving import windows

#: The only server of earlier results.
OURS = "ours"
_HEADER = ["server", "at a time", "requests/s", "p50 ms", "p90 ms", "p99 ms", "stable", "ours is"]


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown: a table a form, a row for each server and number of requests at a time."""
    asked = result["asked"]
    parts = [
        heading("perf_analyzer", result["machine"], interleaved=False),
        f"{asked['program']}, unmodified; its own figures. MNIST, ours in the documented configuration. One image a "
        f"request; windows of {asked['seconds']:g} s, stable where three in a row differ by {asked['stability']}% at "
        f"most, within {asked['trials']}. Client and server share the machine's cores: no limits of the server.",
    ]
    for form in dict.fromkeys(run["form"] for run in result["runs"]):
        runs = [run for run in result["runs"] if run["form"] == form]
        ours = {run["concurrency"]: run["per_second"] for run in runs if run.get("server", OURS) == OURS}
        parts += [f"## {form}", table(_HEADER, [_row(run, ours) for run in runs])]
    if result.get("windows"):
        parts.append(windows(result["windows"]))
    return "\n\n".join(parts)


def _row(run: Mapping[str, Any], ours: Mapping[int, float]) -> List[str]:
    name, count = run.get("server", OURS), run["concurrency"]
    ratio = f"{number(ours[count] / run['per_second'])}x" if name != OURS and count in ours else ""
    times = [number(run[name] / 1000) for name in ("p50_us", "p90_us", "p99_us")]
    return [name, str(count), number(run["per_second"]), *times, "yes" if run["stable"] else "no", ratio]
