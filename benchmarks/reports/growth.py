"""The report of a growth run: a table, a plot and a line for each axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from benchmarks.reports import markdown, plots
from benchmarks.stats import bend, spread

TITLES = {
    "rows": ("rows a request", "8 connections"),
    "connections": ("connections", "one row a request"),
    "side": ("pixels a side of the image", "64 connections, one row a request, resized to 28"),
    "workers": ("workers of the model", "64 connections, one row a request"),
    "models": ("models, one worker each", "64 connections, one row a request, models in turn"),
}


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown; a plot for each axis goes beside ``path``."""
    parts = [markdown.heading("Growth", result["machine"])]
    for axis in dict.fromkeys(entry["axis"] for entry in result["entries"]):
        entries = [entry for entry in result["entries"] if entry["axis"] == axis]
        parts.append(_section(axis, entries, result["processors"], path))
    return "\n".join(parts)


def _section(axis: str, entries: Sequence[Mapping[str, Any]], processors: int, path: Path) -> str:
    title, rest = TITLES[axis]
    values = sorted({entry["value"] for entry in entries})
    at = {value: [entry for entry in entries if entry["value"] == value] for value in values}
    rows: List[List[str]] = []
    rates: List[float] = []
    for value in values:
        rate = spread([entry["rows_per_second"] for entry in at[value]])
        rates.append(rate.median)
        errors = sum(entry["errors"] for entry in at[value])
        figures = [markdown.number(spread([one[name] for one in at[value]]).median) for name in ("p50_ms", "p99_ms")]
        cost = markdown.number(spread([entry["cpu_us_per_row"] for entry in at[value]]).median)
        busy = ", ".join(f"{role} {cores:.2f}" for role, cores in cores_of(at[value]).items() if cores >= 0.01)
        shown = markdown.spread(rate) if not errors else f"void: {errors} errors"
        rows.append([str(value), shown, *figures, cost, busy])
    plot = plots.draw(
        path.with_name(f"{path.stem}-{axis}.png"), {"ours": (values, rates)}, f"Rows/s ({rest})", title, "rows/s"
    )
    header = [title, "rows/s", "p50 ms", "p99 ms", "CPU us a row", "busy cores"]
    line = explain(axis, values, rates, at, processors)
    return f"## {title}\n\n{rest}. {line}\n\n{markdown.table(header, rows)}\n\n![{axis}]({plot.name})\n"


def cores_of(entries: Sequence[Mapping[str, Any]]) -> Dict[str, float]:
    """Median busy cores of each process."""
    roles = sorted({role for entry in entries for role in entry["cores"]})
    return {role: spread([entry["cores"].get(role, 0.0) for entry in entries]).median for role in roles}


def explain(
    axis: str,
    values: Sequence[int],
    rates: Sequence[float],
    at: Mapping[int, Sequence[Mapping[str, Any]]],
    processors: int,
) -> str:
    """Where it bends, and which process is at its limit there."""
    if axis == "side":
        pixels = (values[-1] / values[0]) ** 2
        return f"{pixels:g} times the pixels cost {rates[0] / rates[-1]:.1f} times the time: decoding and resizing."
    where = bend(values, rates)
    if where == values[-1]:
        return "No bend in this range."
    busy = cores_of(at[int(where)])
    role, cores = max(busy.items(), key=lambda item: item[1])
    total = sum(busy.values())
    return (
        f"Bends at {where}, with nine tenths of its best rate: there the servers' processes keep {total:.2f} of "
        f"{processors} processors busy (the load generator needs some of the rest), {role} most with {cores:.2f}."
    )
