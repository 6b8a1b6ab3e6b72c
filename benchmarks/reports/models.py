"""The report of models that people serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from benchmarks.reports import markdown
from benchmarks.reports.serving import Run, case_table, values, windows
from benchmarks.stats import paired_ratio, spread

WORDS = (
    "One photograph (JPEG, drawn by code) or one text (4 to 90 words) a request. Ours by its defaults; TorchServe gets "
    "the content itself as the body, under its image_classifier or a handler of that kind, and batches; the stock "
    "wrapper has batchSize 1; the peers decode and resize as torchvision's documentation does, a thread a processor. "
    "All batch as many rows at most as our handler's own setting says. `base64` is each server's own way.\n"
)
#: Servers within this of each other are alike.
ALIKE = 1.15


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown: of each model what it comes to, then a table a case."""
    parts = [markdown.heading("Models", result["machine"]), f"{WORDS}\n{result['seconds']:g} s a round.\n"]
    for model in result["models"]:
        grouped: Dict[Tuple[str, str, int], List[Run]] = {}
        for run in model["runs"]:
            grouped.setdefault((run["pictures"], run["form"], run["connections"]), []).append(run)
        parts.append(f"## {model['model']}\n\n{summary(grouped)}\n")
        for (pictures, form, connections), runs in grouped.items():
            noun = "connection" if connections == 1 else "connections"
            parts.append(f"### {pictures}, {form}, {connections} {noun}\n\n{case_table(runs)}\n")
        if model["windows"]:
            parts.append(windows(model["windows"], "###"))
    return "\n".join(parts)


def summary(grouped: Mapping[Tuple[str, str, int], List[Run]]) -> str:
    """A line for each case in which others took part: ours over each, and the shares of CPU time that serving takes."""
    names = list(dict.fromkeys(run["server"] for runs in grouped.values() for run in runs if run["server"] != "ours"))
    lines = []
    for (pictures, _, connections), runs in grouped.items():
        found = {run["server"]: run for run in runs if not run["void"]}
        ours = found.get("ours")
        if ours is None or len(runs) < 2:
            continue
        ratios = [_ratio(ours, found.get(name), connections) for name in names]
        best = max(_median(run, "requests_per_second") for run in found.values())
        close = [name for name, run in found.items() if best / _median(run, "requests_per_second") <= ALIKE]
        lines.append([f"{pictures}, {connections}", *ratios, _share(ours), ", ".join(close)])
    header = ["content, connections", *names, "server's share of ours' CPU", f"within {ALIKE - 1:.0%} of the best"]
    words = (
        "Ours over each: requests/s, and at one connection the other's p50 over ours. The server's share is what "
        "wrapper and Java take of all CPU time of a request; the rest is decoding and the model. Where several are "
        f"within {ALIKE - 1:.0%} of the best, the model is the limit.\n\n"
    )
    return words + markdown.table(header, lines) + "\n"


def _ratio(ours: Run, theirs: Optional[Run], connections: int) -> str:
    if theirs is None:
        return ""
    if connections == 1:
        return f"{markdown.spread(paired_ratio(values(theirs, 'p50_ms'), values(ours, 'p50_ms')))}x"
    figure = "requests_per_second"
    return f"{markdown.spread(paired_ratio(values(ours, figure), values(theirs, figure)))}x"


def _median(run: Run, figure: str) -> float:
    return spread(values(run, figure)).median


def _share(run: Run) -> str:
    """Of all processes' CPU time, what is not the worker's."""
    shares = []
    for one in run["rounds"]:
        whole = sum(one["cpu_s_per_1000"].values())
        shares.append(1 - one["cpu_s_per_1000"].get("worker", 0.0) / whole if whole else 0.0)
    return f"{spread(shares).median:.1%}"
