"""The report of a handler run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping

from benchmarks.reports import markdown, plots
from benchmarks.stats import paired_ratio, spread

STAGES = ("preprocess", "inference", "postprocess")
#: Batch size -> how many times faster than stock the whole shall be.
TARGETS = {1: 1.3, 64: 3.0}


def report_texts(result: Mapping[str, Any]) -> str:
    """The Markdown of a run with texts."""
    entries = result["entries"]
    rows: List[List[str]] = []
    for size in dict.fromkeys(entry["rows"] for entry in entries):
        rates = {
            name: [one["rows_per_second"] for one in entries if (one["handler"], one["rows"]) == (name, size)]
            for name in dict.fromkeys(entry["handler"] for entry in entries)
        }
        for name, found in rates.items():
            ratio = "" if name == "stock" else f"{markdown.spread(paired_ratio(found, rates['stock']))}x"
            rows.append([str(size), name, markdown.spread(spread(found)), ratio])
    text = markdown.heading(f"Handler: {result['model']}", result["machine"])
    text += (
        "Texts a second, of unequal lengths, so many in one V1 request, through envelope and handler; all handlers "
        "loaded as TorchServe's worker does.\n\n"
    )
    return text + markdown.table(["batch", "handler", "texts a second", "times stock's"], rows) + "\n"


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown; the plot goes beside ``path``."""
    if "model" in result:
        return report_texts(result)
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
