"""The report of a GPU run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

from benchmarks.reports import markdown, plots
from benchmarks.reports.serving import case_table

STAGES = ("decode", "transfer", "preprocess", "inference", "inference_device", "postprocess", "after_decode")


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown; the plot goes beside ``path``."""
    parts = [markdown.heading("GPU", result["machine"])]
    if result["device"] == "cpu":
        parts.append("**A self-test on a CPU: no GPU was measured.**\n")
    if result["missing"]:
        parts.append(f"Not installed here, stood in for: {', '.join(result['missing'])}.\n")
    parts.append(
        "Microseconds an image. `transfer` is part of `preprocess`; `inference_device` is what the device took of "
        "`inference`; `after_decode` is preprocess, inference and postprocess in one go.\n"
    )
    plot = plots.draw(
        path.with_suffix(".png"), _lines(result), "After decoding: images a second", "batch", "images/s", log_y=True
    )
    parts.append(f"![images a second]({plot.name})\n")
    for device, found in result["devices"].items():
        parts.append(_device(device, found))
    served = result["serving"]
    parts.append(
        f"## Serving\n\n{case_tables(served['runs']) if 'runs' in served else 'Left out: ' + served['left_out']}"
    )
    return "\n".join(parts)


def case_tables(runs: List[Mapping[str, Any]]) -> str:
    texts = [f"{run['form']}, {run['connections']} connections\n\n{case_table([run])}\n" for run in runs]
    return "\n".join(texts)


def _lines(result: Mapping[str, Any]) -> Dict[str, Tuple[List[float], List[float]]]:
    lines: Dict[str, Tuple[List[float], List[float]]] = {}
    for found in result["devices"].values():
        for entry in found["entries"]:
            name = f"{entry['device']} {entry['precision']} {entry['mode']}"
            xs, ys = lines.setdefault(name, ([], []))
            xs.append(entry["batch"])
            ys.append(1e6 / entry["after_decode"])
    return lines


def _device(device: str, found: Mapping[str, Any]) -> str:
    rows = [
        [entry["precision"], entry["mode"], str(entry["batch"]), *(markdown.number(entry[stage]) for stage in STAGES)]
        for entry in found["entries"]
    ]
    text = f"## {device}\n\n" + markdown.table(["precision", "mode", "batch", *STAGES], rows) + "\n"
    for one in found["failed"]:
        text += f"\n{one['precision']} {one['mode']} could not run: {one['error']}\n"
    if found["explains"]:
        lines = [[str(one["batch"]), markdown.number(one["explain"])] for one in found["explains"]]
        text += "\nIntegrated gradients, 15 steps, decoding included:\n\n"
        text += markdown.table(["batch", "us an image"], lines) + "\n"
    return text
