"""The report of a run of HTTP servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping, Sequence

from benchmarks.reports import markdown
from benchmarks.reports.serving import Run, by_case, values
from benchmarks.stats import paired_ratio, spread

TITLES = ["server", "requests/s", "p50 ms", "wrapper us", "all us", "rate", "p50", "wrapper CPU", "all CPU"]


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown: a table a case, the last four columns over the first server's, pair by pair."""
    what = "Wrapper processes that differ in their HTTP server alone, in front of one TorchServe with MNIST."
    return tables(result, "HTTP servers", what)


def tables(result: Mapping[str, Any], title: str, what: str) -> str:
    """The Markdown of servers that are compared by CPU time and latency."""
    text = markdown.heading(title, result["machine"])
    text += (
        f"{what} `us` is CPU time of a request in microseconds: the wrapper's process, and with TorchServe and its "
        f"worker. The last four columns are ratios to `{result['runs'][0]['server']}`, round by round.\n"
    )
    for (form, _, connections), runs in by_case(result["runs"]).items():
        text += f"\n## {form}, connections: {connections}\n\n"
        text += markdown.table(TITLES, case_lines(runs)) + "\n"
    return text


def case_lines(runs: Sequence[Run]) -> List[List[str]]:
    """A line a server, as ``TITLES`` says."""
    return [_line(run, runs[0]) for run in runs]


def _line(run: Run, first: Run) -> List[str]:
    if run["void"]:
        return [run["server"], f"void: {run['fault'] or 'errors'}", *[""] * (len(TITLES) - 2)]
    figures = [_microseconds(run, ["wrapper"]), _microseconds(run, ["wrapper", "torchserve", "worker"])]
    rates = [markdown.spread(spread(values(run, name))) for name in ("requests_per_second", "p50_ms")]
    line = [run["server"], *rates, *[markdown.spread(spread(figure)) for figure in figures]]
    if run is first or first["void"]:
        return [*line, "", "", "", ""]
    theirs = [_microseconds(first, ["wrapper"]), _microseconds(first, ["wrapper", "torchserve", "worker"])]
    names = ("requests_per_second", "p50_ms")
    pairs = [*((values(run, name), values(first, name)) for name in names), *zip(figures, theirs)]
    return [*line, *[markdown.spread(paired_ratio(a, b)) for a, b in pairs]]


def _microseconds(run: Run, roles: Sequence[str]) -> List[float]:
    return [1000 * sum(one["cpu_s_per_1000"].get(role, 0.0) for role in roles) for one in run["rounds"]]
