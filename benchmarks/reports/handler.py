"""The report of a handler run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping, Sequence

from benchmarks.reports import markdown, plots
from benchmarks.stats import paired_ratio, spread

STAGES = ("preprocess", "inference", "postprocess")
#: Batch size -> how many times faster than stock the whole shall be.
TARGETS = {1: 1.3, 64: 3.0}


#: What a model's rows are, and what its stock handler is.
KINDS = {
    "minilm": ("texts of unequal lengths", "a handler as TorchServe's Transformer example has it, the same tokenizer"),
    "resnet18": ("photographs of 640 by 480 pixels, JPEG", "TorchServe's image_classifier, unmodified"),
    "detector": ("photographs of 320 by 320 pixels, JPEG", "TorchServe's object_detector, unmodified"),
}


def report_models(result: Mapping[str, Any]) -> str:
    """The Markdown of a run with models other than mnist."""
    text = markdown.heading("Handlers of several kinds", result["machine"])
    text += (
        "Rows a second, so many in one V1 request, through envelope and handler; all handlers loaded as TorchServe's "
        "worker does, and asked for the same answers before they are measured.\n"
    )
    for model in result["models"]:
        rows, stock = KINDS[model]
        text += f"\n## {model}: {rows}\n\nStock is {stock}.\n\n"
        text += _rates([entry for entry in result["entries"] if entry["model"] == model]) + "\n"
    return text


def _rates(entries: Sequence[Mapping[str, Any]]) -> str:
    lines: List[List[str]] = []
    for size in dict.fromkeys(entry["rows"] for entry in entries):
        rates = {
            name: [one["rows_per_second"] for one in entries if (one["handler"], one["rows"]) == (name, size)]
            for name in dict.fromkeys(entry["handler"] for entry in entries)
        }
        for name, found in rates.items():
            ratio = "" if name == "stock" else f"{markdown.spread(paired_ratio(found, rates['stock']))}x"
            lines.append([str(size), name, markdown.spread(spread(found)), ratio])
    return markdown.table(["batch", "handler", "rows a second", "times stock's"], lines)


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown; the plot goes beside ``path``."""
    if "models" in result:
        return report_models(result)
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
