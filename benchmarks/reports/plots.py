"""Plots as PNG files beside the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from benchmarks.stats import spread

Line = Tuple[List[float], List[float]]
#: Each server keeps its colour in every plot; with our compute inside, the same, dashed.
COLOURS = {
    "ours": "#d62728",
    "torchserve": "#1f77b4",
    "torchserve-batched": "#17becf",
    "mosec": "#ff7f0e",
    "triton": "#e377c2",
    "rayserve": "#000000",
    "mlserver": "#2ca02c",
    "litserve": "#9467bd",
    "bentoml": "#8c564b",
    "stock-v1": "#7f7f7f",
    "stock-v2": "#bcbd22",
}


def draw(
    path: Path, lines: Mapping[str, Line], title: str, x: str, y: str, log_x: bool = True, log_y: bool = False
) -> Path:
    """One plot with a line a name; returns ``path``."""
    figure, axes = pyplot.subplots(figsize=(7.5, 4.5), dpi=120)
    for name, (xs, ys) in lines.items():
        width = 2.5 if name == "ours" else 1.4
        colour, same = COLOURS.get(name.replace("-same", "")), name.endswith("-same")
        style = "--" if same else "-"
        axes.plot(xs, ys, marker="o", markersize=4, linewidth=width, linestyle=style, label=name, color=colour)
    if log_x:
        ticks = sorted({value for xs, _ in lines.values() for value in xs})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], rotation=45 if len(ticks) > 8 else 0)
    if log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
    return path


def bars(path: Path, parts: Mapping[str, Mapping[str, float]], title: str, x: str) -> Path:
    """Stacked horizontal bars: one a name, its parts side by side."""
    figure, axes = pyplot.subplots(figsize=(8, 1.2 + 0.7 * len(parts)), dpi=120)
    kinds = list(dict.fromkeys(kind for values in parts.values() for kind in values))
    left = [0.0] * len(parts)
    for kind in kinds:
        widths = [values.get(kind, 0.0) for values in parts.values()]
        axes.barh(list(parts), widths, left=left, label=kind)
        left = [start + width for start, width in zip(left, widths)]
    axes.set(title=title, xlabel=x)
    axes.invert_yaxis()
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
    return path


def serving(result: Mapping[str, Any], path: Path) -> List[Path]:
    """Throughput against connections, and latency against the arrival rate, where the result has them."""
    made = []
    throughput: Dict[str, Line] = {}
    for run in result["runs"]:
        if run["form"] == "base64" and run["rows"] == 1 and not run["void"]:
            rate = spread([one["requests_per_second"] for one in run["rounds"]]).median
            _append(throughput, run["server"], run["connections"], rate)
    if any(len(xs) > 1 for xs, _ in throughput.values()):
        name = path.with_name(f"{path.stem}-throughput.png")
        title = "One MNIST image a request, closed loop"
        made.append(draw(name, throughput, title, "connections", "requests/s"))
    if result.get("latency"):
        name = path.with_name(f"{path.stem}-latency.png")
        title = "p99 from the intended start, open loop"
        made.append(draw(name, curves(result["latency"]), title, "requests/s asked", "p99, ms", log_y=True))
    return made


def curves(entries: Sequence[Mapping[str, Any]]) -> Dict[str, Line]:
    """Median p99 against the rate, for each server; rates with errors are left out."""
    lines: Dict[str, Line] = {}
    for server in dict.fromkeys(one["server"] for one in entries):
        for rate in sorted({one["rate"] for one in entries}):
            here = [one for one in entries if one["server"] == server and one["rate"] == rate]
            if here and not any(one["errors"] for one in here):
                _append(lines, server, rate, spread([one["p99_ms"] for one in here]).median)
    return lines


def _append(lines: Dict[str, Line], name: str, x: float, y: float) -> None:
    xs, ys = lines.setdefault(name, ([], []))
    xs.append(x)
    ys.append(y)
