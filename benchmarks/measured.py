"""Parts of docs/scaling.md from the newest committed results: small pods, decoding, pods of many cores.

``python -m benchmarks.capacity --write`` puts them there.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from benchmarks.reports import markdown
from benchmarks.stats import spread

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
#: Part of a process's and of a pod's processor time that is planned for.
PLANNED = 0.8
CORES = (4, 8, 16)
ROLES = ("wrapper", "torchserve", "worker")

Result = Mapping[str, Any]


def results(kind: str, where: Path) -> Iterator[Result]:
    """Those of a kind, the newest first, with its report's path as ``report``."""
    for path in sorted(where.glob(f"{kind}-*.json"), reverse=True):
        result: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        yield {**result, "report": f"../benchmarks/results/{path.with_suffix('.md').name}"}


def newest(kind: str, where: Path, accept: Callable[[Result], bool] = lambda result: True) -> Optional[Result]:
    """The newest result of a kind that is accepted; None where there is none."""
    return next(filter(accept, results(kind, where)), None)


def parts(where: Path = RESULTS) -> Dict[str, str]:
    """The page's parts by name; where there is no result they say so."""
    return {
        "pod": pods(where) or _missing("pod"),
        "decoding": decoding(where) or _missing("decoding"),
        "processes": processes(where) or _missing("flags workers=1 workers=2"),
        "cores": cores(where) or _missing("profile"),
    }


def _missing(command: str) -> str:
    return f"Not measured yet: `python -m benchmarks {command}` measures it."


def _told(result: Result) -> str:
    machine = result["machine"]
    where = f"{machine['cores']} cores, {machine['cpu']}; commit {machine['commit']}, {machine['date']}"
    return f"Measured on: {where} ([report]({result['report']}))."


def pods(where: Path) -> str:
    """Pods of one model each, then one of all, as far as they were measured."""
    from benchmarks.reports.pod import tables

    apart = newest("pod", where, lambda result: all(len(pod["models"]) == 1 for pod in result["pods"]))
    together = newest("pod", where, lambda result: any(len(pod["models"]) > 1 for pod in result["pods"]))
    return "\n\n".join(f"{_told(result)}\n\n{tables(result)}" for result in (apart, together) if result)


def decoding(where: Path) -> str:
    """One image and a full batch, on one thread and on all, in full and at reduced scale."""
    from benchmarks.reports.decoding import TITLES, lines

    result = newest("decoding", where)
    if result is None:
        return ""
    most = str(max(entry["rows"] for entry in result["entries"]))
    rows = [line for line in lines(result) if line[2] == most and line[4] in ("", "2")]
    return f"{_told(result)} Batches of {most} images.\n\n{markdown.table(TITLES, rows)}"


def processes(where: Path) -> str:
    """Server processes beside one another: each batches for itself."""
    from benchmarks.reports.http import TITLES, case_lines
    from benchmarks.reports.serving import by_case

    wanted = {"workers=1", "workers=2"}
    result = newest("flags", where, lambda result: wanted <= {run["server"] for run in result["runs"]})
    if result is None:
        return ""
    rows = [
        [f"{form}, {connections}", *line]
        for (form, _, connections), runs in by_case(result["runs"]).items()
        for line in case_lines(runs)
    ]
    return f"{_told(result)}\n\n{markdown.table(['form, connections', *TITLES], rows)}"


def _budgets(where: Path) -> Iterator[Tuple[str, Dict[str, float]]]:
    """Microseconds of CPU that a request costs each process, by model: MNIST's of the profile, others' of models."""
    profile = newest("profile", where)
    if profile is None:
        return
    rounds = [one["processes"] for one in profile["rounds"]]
    yield (
        f"mnist, {profile['connections']} connections",
        {role: spread([one.get(role, 0.0) for one in rounds]).median for role in ROLES},
    )
    found: Dict[str, Any] = {}
    for result in results("models", where):
        for model in result["models"]:
            found.setdefault(model["model"], model)
    for name, model in sorted(found.items()):
        runs = [
            run
            for run in model["runs"]
            if (run["server"], run["form"], run["connections"]) == ("ours", "base64", 16) and not run["void"]
        ]
        if runs:
            costs = [one["cpu_s_per_1000"] for one in runs[-1]["rounds"]]
            budget = {role: 1000 * spread([cost.get(role, 0.0) for cost in costs]).median for role in ROLES}
            yield f"{name}, {runs[-1]['pictures']}, 16 connections", budget


def settings(budget: Mapping[str, float], cpus: int) -> Tuple[int, int, float]:
    """Server processes, the model's workers, and requests/s of a pod, all at ``PLANNED`` of what they can do.

    A process of either kind computes on one core; Java takes what it needs beside them. Both together get no more
    processes than the pod has cores, but one of each.

    Args:
        budget: CPU microseconds of a request in ``wrapper``, ``torchserve`` and ``worker``.
    """
    rate = PLANNED * cpus * 1e6 / sum(budget.values())
    servers = max(1, math.ceil(rate * budget["wrapper"] / 1e6 / PLANNED - 0.05))
    workers = max(1, min(cpus - 1, math.ceil(rate * budget["worker"] / 1e6 / PLANNED - 0.05)))
    return servers, workers, rate


def cores(where: Path) -> str:
    """What pods of several sizes should set: extrapolated from the CPU time of a request."""
    rows: List[List[str]] = []
    budgets = dict(_budgets(where))
    for model, budget in budgets.items():
        cells = []
        for cpus in CORES:
            servers, workers, rate = settings(budget, cpus)
            cells.append(f"{servers}, {workers}: {markdown.number(rate)}/s")
        costs = " + ".join(markdown.number(budget[role]) for role in ROLES)
        rows.append([model, costs, *cells])
    if not rows:
        return ""
    profile = newest("profile", where)
    assert profile is not None
    header = ["model, row", "us of wrapper + Java + worker", *(f"{cpus} cores" for cpus in CORES)]
    return f"{_told(profile)} {_front(profile)}\n\n{markdown.table(header, rows)}"


def _front(profile: Result) -> str:
    """What a front in a process of its own, which hands requests to one batcher, could win at most."""
    stages: Mapping[str, float] = profile["functions"].get("wrapper", {})
    if not stages:
        return ""
    moved = sum(share for name, share in stages.items() if name in ("batcher", "coalescer", "upstream client"))
    whole = sum(stages.values())
    sockets = stages.get("event loop, sockets", 0.0)
    return (
        f"Of a request's time in the wrapper, batcher and upstream client take {moved / whole:.0%}, the event loop and "
        f"its sockets {sockets / whole:.0%}."
    )
