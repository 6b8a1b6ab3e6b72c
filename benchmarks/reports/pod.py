"""The report of pods held to few processors and little memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping

from benchmarks.reports.markdown import heading, number, table

_HEADER = ["models in the pod", "loaded", "connections", "requests/s", "p50 ms", "p99 ms", "errors"]


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown: what each pod needed, and what it served."""
    title = f"A pod of {number(result['processors'])} CPU and {number(result['memory_gib'])} GiB"
    lines = [heading(title, result["machine"], interleaved=False), ""]
    lines += [
        "Supervisor, wrapper, Java and one worker a model within a control group of these limits; the load comes from",
        f"outside it. {number(result['seconds'])} s of load for each line.",
    ]
    return "\n".join([*lines, "", tables(result)])


def tables(result: Mapping[str, Any]) -> str:
    """What each pod needed, then what it served."""
    lines = [
        "| models in the pod | ready after s | MiB that cannot be given back | most MiB, file pages too | kills |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [_needs(pod) for pod in result["pods"]]
    rows = [_row(pod, run) for pod in result["pods"] for run in pod.get("runs", [])]
    return "\n".join([*lines, "", table(_HEADER, rows)])


def _needs(pod: Mapping[str, Any]) -> str:
    name = ", ".join(pod["models"])
    if "fault" in pod:
        return f"| {name} | {pod['fault']} | | | |"
    figures = (number(pod[key]) for key in ("ready_s", "resident_mib", "most_mib", "kills"))
    return f"| {name} | {' | '.join(figures)} |"


def _row(pod: Mapping[str, Any], run: Mapping[str, Any]) -> List[str]:
    figures = (number(run[key]) for key in ("requests_per_second", "p50_ms", "p99_ms", "errors"))
    return [", ".join(pod["models"]), " + ".join(run["models"]), str(run["connections"]), *figures]
