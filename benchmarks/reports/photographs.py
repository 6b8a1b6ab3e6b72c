"""The report of a run with photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

from benchmarks.reports import markdown
from benchmarks.reports.serving import case_table

WORDS = (
    "A network of ResNet-18's shape (random weights) from JPEG files, one a request, drawn by code. Ours by its "
    "defaults; TorchServe's image_classifier gets the file itself and batchSize 8; the peers decode and resize as "
    "torchvision's documentation does, a thread a processor. Where the model is the limit all servers are alike.\n"
)


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown."""
    parts = [markdown.heading("Photographs", result["machine"]), f"{WORDS}\n{result['seconds']:g} s a round.\n"]
    grouped: Dict[Tuple[str, str, int], List[Mapping[str, Any]]] = {}
    for run in result["runs"]:
        grouped.setdefault((run["pictures"], run["form"], run["connections"]), []).append(run)
    for (pictures, form, connections), runs in grouped.items():
        noun = "connection" if connections == 1 else "connections"
        parts.append(f"## {pictures}, {form}, {connections} {noun}\n\n{case_table(runs)}\n")
    return "\n".join(parts)
