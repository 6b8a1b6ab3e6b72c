"""The report of a limit run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping

from benchmarks.reports import markdown
from benchmarks.stats import paired_ratio, spread

LEAST = 0.7


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown: in-process rates, served rates, and the efficiency at 64 connections."""
    inside: Dict[int, List[float]] = {}
    for entry in result["inside"]:
        inside.setdefault(int(entry["rows"]), []).append(entry["rows_per_second"])
    rows = [
        [f"in-process, batches of {size}", markdown.spread(spread(rates))] for size, rates in sorted(inside.items())
    ]
    served: Dict[Any, List[float]] = {}
    for entry in result["served"]:
        key = (entry["server"], entry["connections"], entry["rows"])
        rate = 0.0 if entry["errors"] else entry["rows_per_second"]
        served.setdefault(key, []).append(rate)
    rows += [
        [f"{name}, {count} connections, rows a request: {many}", markdown.spread(spread(rates))]
        for (name, count, many), rates in served.items()
    ]
    text = markdown.heading("The limit", result["machine"])
    text += (
        "In-process: envelope, decoding, forward and encoding of V1 base64 requests in one process with no server. "
        "`torchserve-empty-N` is TorchServe alone with an empty handler and batchSize N: its own ceiling.\n\n"
    )
    text += markdown.table(["what", "rows/s"], rows) + "\n\n"
    biggest = max(inside)
    efficiencies = [
        [str(many), markdown.spread(efficiency), "yes" if efficiency.median >= LEAST else "NO"]
        for (name, count, many), rates in sorted(served.items())
        if (name, count) == ("ours", 64)
        for efficiency in [paired_ratio(rates, inside[biggest])]
    ]
    text += f"Efficiency, rows served at 64 connections over rows of in-process batches of {biggest}:\n\n"
    return text + markdown.table(["rows a request", "efficiency", f"at least {LEAST}"], efficiencies) + "\n"
