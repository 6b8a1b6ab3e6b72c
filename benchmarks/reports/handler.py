"""The report of a handler run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping

from benchmarks.reports import markdown, plots
from benchmarks.stats import paired_ratio, spread

STAGES = ("preprocess", "inference", "postprocess")
#: Batch size -> how many times faster than stock the whole shall be.
TARGETS = {1: 1.3, 64: 3.0}


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown; the plot goes beside ``path``."""
    entries = result["entries"]
    sizes = list(dict.fromkeys(entry["rows"] for entry in entries))
    rows: List[List[str]] = []
    parts = {}
    for size in sizes:
        totals = {}
        for name in ("stock", "ours"):
            here = [entry for entry in entries if entry["handler"] == name and entry["rows"] == size]
            totals[name] = [sum(entry[stage] for stage in STAGES) for entry in here]
            medians = {stage: spread([entry[stage] for entry in here]).median for stage in STAGES}
            parts[f"{name}, batch {size}"] = medians
            cells = [str(size), name, *(markdown.number(medians[stage]) for stage in STAGES)]
            rows.append([*cells, markdown.spread(spread(totals[name])), ""])
        ratio = paired_ratio(totals["stock"], totals["ours"])
        met = "" if size not in TARGETS else ", met" if ratio.median >= TARGETS[size] else ", NOT MET"
        wanted = f" (at least {TARGETS[size]:g}x{met})" if size in TARGETS else ""
        rows[-1][-1] = f"{markdown.spread(ratio)}x{wanted}"
    plot = plots.bars(path.with_suffix(".png"), parts, "The handler's stages", "microseconds an image")
    text = markdown.heading("Handler", result["machine"])
    text += "Microseconds an image, from base64 text to labels; both handlers loaded as TorchServe's worker does.\n\n"
    text += markdown.table(["batch", "handler", *STAGES, "together", "stock / ours"], rows)
    return f"{text}\n\n![stages]({plot.name})\n"
