"""The report of a profile run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping

from benchmarks.reports import markdown, plots
from benchmarks.stats import spread


def medians(rounds: List[Mapping[str, Any]], key: str) -> Dict[str, float]:
    names = sorted({name for one in rounds for name in one[key]})
    return {name: spread([one[key].get(name, 0.0) for one in rounds]).median for name in names}


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown; the plot goes beside ``path``."""
    rounds = result["rounds"]
    processes, threads = medians(rounds, "processes"), medians(rounds, "threads")
    rate = spread([one["requests_per_second"] for one in rounds])
    text = markdown.heading("The budget of one request", result["machine"])
    text += (
        f"{result['form']}, one row a request, {result['connections']} connections: "
        f"{markdown.spread(rate)} requests/s. CPU microseconds a "
        "request.\n\n"
    )
    rows = [[name, markdown.number(value)] for name, value in processes.items() if value >= 0.5]
    rows.append(["together", markdown.number(sum(processes.values()))])
    text += markdown.table(["process", "us a request"], rows) + "\n\n"
    parts: Dict[str, Dict[str, float]] = {}
    for role, shares in result["functions"].items():
        parts[role] = {stage: share * processes.get(role, 0.0) for stage, share in shares.items()}
        lines = [[stage, markdown.number(value)] for stage, value in parts[role].items() if value >= 0.3]
        text += f"## {role}, by stage (py-spy)\n\n" + markdown.table(["stage", "us a request"], lines) + "\n\n"
    lines = [
        [name, markdown.number(value)] for name, value in sorted(threads.items(), key=lambda i: -i[1]) if value >= 1
    ]
    text += "## Threads\n\n" + markdown.table(["thread", "us a request"], lines) + "\n"
    java = {
        name.split(": ")[1]: value for name, value in threads.items() if name.startswith("torchserve") and value >= 1
    }
    plot = plots.bars(path.with_suffix(".png"), {**parts, "torchserve": java}, "CPU of one request", "microseconds")
    return f"{text}\n![budget]({plot.name})\n"
