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
        key = (entry["server"], entry["connections"])
        rate = 0.0 if entry["errors"] else entry["requests_per_second"]
        served.setdefault(key, []).append(rate)
    rows += [
        [f"{name}, {count} connections", markdown.spread(spread(rates))] for (name, count), rates in served.items()
    ]
    text = markdown.heading("The limit", result["machine"])
    text += (
        "In-process: envelope, decoding, forward and encoding of V1 base64 requests in one process with no server. "
        "`torchserve-empty-N` is TorchServe alone with an empty handler and batchSize N: its own ceiling.\n\n"
    )
    text += markdown.table(["what", "rows/s"], rows) + "\n\n"
    biggest = max(inside)
    if ("ours", 64) in served:
        efficiency = paired_ratio(served["ours", 64], inside[biggest])
        met = "met" if efficiency.median >= LEAST else "NOT MET"
        text += (
            f"Efficiency, served at 64 connections over in-process batches of {biggest}: "
            f"{markdown.spread(efficiency)} (at least {LEAST}: {met}).\n"
        )
    return text
