"""The report of a limit run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

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
        served.setdefault(key, []).append(_rate(entry))
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
    text += (
        "Efficiency, rows served at 64 connections over rows in-process: of the same batches (as many rows each as the "
        f"wrapper's had, measured right after), and of batches of {biggest} whatever was served.\n\n"
    )
    titles = [
        "rows a request",
        "rows a batch",
        "over the same batches",
        f"at least {LEAST}",
        f"over batches of {biggest}",
    ]
    return text + markdown.table(titles, _efficiencies(result["served"], inside[biggest])) + "\n"


def _efficiencies(served: Sequence[Mapping[str, Any]], biggest: List[float]) -> List[List[str]]:
    lines = []
    for many in sorted({entry["rows"] for entry in served}):
        own = [e for e in served if (e["server"], e["connections"], e["rows"]) == ("ours", 64, many)]
        if not own or "inside" not in own[0]:
            continue
        rates = [_rate(entry) for entry in own]
        same = paired_ratio(rates, [entry["inside"] for entry in own])
        size = spread([float(entry["rows_per_batch"]) for entry in own])
        verdict = "yes" if same.median >= LEAST else "NO"
        strict = markdown.spread(paired_ratio(rates, biggest))
        lines.append([str(many), markdown.spread(size), markdown.spread(same), verdict, strict])
    return lines


def _rate(entry: Mapping[str, Any]) -> float:
    """Rows a second; a run with errors says nothing of speed."""
    return 0.0 if entry["errors"] else float(entry["rows_per_second"])
