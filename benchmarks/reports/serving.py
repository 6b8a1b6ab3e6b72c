"""The report of a serving run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from benchmarks.cases import EXPLAIN_SECONDS
from benchmarks.reports import markdown, plots
from benchmarks.reports.targets import targets
from benchmarks.stats import paired_ratio, spread

Run = Mapping[str, Any]


def values(run: Run, figure: str) -> List[float]:
    return [one[figure] for one in run["rounds"]]


def by_case(runs: List[Run]) -> Dict[Tuple[str, int, int], List[Run]]:
    """Runs by (form, rows, connections), in the order of the result."""
    grouped: Dict[Tuple[str, int, int], List[Run]] = {}
    for run in runs:
        grouped.setdefault((run["form"], run["rows"], run["connections"]), []).append(run)
    return grouped


def case_table(runs: List[Run]) -> str:
    """One server a line; the last column is this project's requests/s over that server's, round by round."""
    ours = next((run for run in runs if run["server"] == "ours" and not run["void"]), None)
    rows = [_line(run, ours) for run in runs]
    header = ["server", "requests/s", "rows/s", "p50 ms", "p90 ms", "p99 ms", "CPU s per 1,000", "peak MiB", "ours is"]
    return markdown.table(header, rows)


def _line(run: Run, ours: Optional[Run]) -> List[str]:
    if run["void"]:
        errors = sum(values(run, "errors"))
        fault = str(run.get("fault", "")).partition(":")[0] or "no answer"
        return [run["server"], f"void: {f'{errors:.0f} errors' if errors else fault}", *[""] * 7]
    figures = [markdown.spread(spread(values(run, "requests_per_second")))]
    figures.append(markdown.number(spread(values(run, "rows_per_second")).median))
    figures += [markdown.number(spread(values(run, name)).median) for name in ("p50_ms", "p90_ms", "p99_ms")]
    ratio = ""
    if ours is not None and ours is not run:
        pairs = paired_ratio(values(ours, "requests_per_second"), values(run, "requests_per_second"))
        ratio = f"{markdown.spread(pairs)}x"
    return [run["server"], *figures, _by_role(run, "cpu_s_per_1000"), _by_role(run, "peak_mib"), ratio]


def _by_role(run: Run, figure: str) -> str:
    """Medians by process; what rounds to nothing (launchers, supervisors) is left out."""
    roles = sorted({role for one in run["rounds"] for role in one[figure]})
    least = 0.005 if figure == "cpu_s_per_1000" else 0.0
    parts = []
    for role in roles:
        median = spread([one[figure].get(role, 0.0) for one in run["rounds"]]).median
        if median > least and role not in ("launcher", "supervisor"):
            parts.append(f"{role} {markdown.number(median)}")
    return ", ".join(parts)


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown; plots go beside ``path``."""
    parts = [markdown.heading("Serving load", result["machine"])]
    parts.append(
        f"The peers ran the network {result.get('peer_network', 'frozen')}; {result['seconds']:g} s a round, and at "
        f"least {EXPLAIN_SECONDS:g} s for explanations on many connections.\n"
    )
    parts.append(targets(result["runs"]))
    for name in plots.serving(result, path):
        parts.append(f"![{name.stem}]({name.name})\n")
    for (form, rows, connections), runs in by_case(result["runs"]).items():
        noun = "row" if rows == 1 else "rows"
        parts.append(f"## {form}, {rows} {noun} a request, {connections} connections\n\n{case_table(runs)}\n")
    if result.get("windows"):
        parts.append(windows(result["windows"]))
    if result.get("latency"):
        parts.append(_latency(result["latency"]))
    return "\n".join(parts)


def windows(tried: Mapping[str, Mapping[str, Mapping[str, float]]], level: str = "##") -> str:
    """Requests/s that each peer gave with each batching delay; the best was taken."""
    delays = list(dict.fromkeys(delay for rates in tried.values() for one in rates.values() for delay in one))
    rows = []
    for server, by_connections in tried.items():
        for connections, rates in by_connections.items():
            best = max(rates, key=lambda delay: rates[delay])
            cells = [markdown.number(rates[delay]) if delay in rates else "" for delay in delays]
            marked = [f"**{cell}**" if delay == best else cell for delay, cell in zip(delays, cells)]
            rows.append([server, str(connections), *marked])
    title = f"{level} Batching delays tried\n\n"
    title += "Requests/s of one row a request, every peer by itself; the best was taken.\n\n"
    header = ["server", "connections", *(f"{float(delay):g} ms" for delay in delays)]
    return title + markdown.table(header, rows) + "\n"


def _latency(entries: List[Mapping[str, Any]]) -> str:
    """p50 / p99 at each rate; empty where the server had been past its capacity at a lower one."""
    servers = list(dict.fromkeys(one["server"] for one in entries))
    rows = []
    for rate in sorted({one["rate"] for one in entries}):
        cells = [str(rate)]
        for server in servers:
            here = [one for one in entries if one["server"] == server and one["rate"] == rate]
            if any(one["errors"] for one in here):
                cells.append("errors")
                continue
            pairs = [spread([one[name] for one in here]).median for name in ("p50_ms", "p99_ms")] if here else []
            cells.append(" / ".join(markdown.number(value) for value in pairs))
        rows.append(cells)
    title = "## Open loop: one base64 image a request, p50 / p99 in ms from the intended start\n\n"
    return title + markdown.table(["requests/s", *servers], rows) + "\n"
