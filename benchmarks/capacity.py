"""How many replicas, workers and connections a load needs, computed from measured figures.

    python -m benchmarks.capacity --requests_per_second 2000 --rows 4     one plan
    python -m benchmarks.capacity --targets                              what the autoscalers of config/kserve/ aim at
    python -m benchmarks.capacity --write                                the tables of docs/scaling.md

The figures come from a report (default ``benchmarks/results/capacity.json``); nothing here is guessed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from benchmarks import measured

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "benchmarks" / "results" / "capacity.json"
PAGE = ROOT / "docs" / "scaling.md"
GIB = 2**30


class FiguresError(Exception):
    """The report is absent or lacks a figure; the message says which and how to make it."""


@dataclass(frozen=True)
class Figures:
    """What one model and machine gave.

    Attributes:
        worker_rows_per_second: rows through one worker whose batches are full.
        wrapper_requests_per_second: requests that one wrapper process served at best, one row each, with everything on
            the same cores.
        request_seconds: from a request to its answer, one row, nobody else there (median).
        worker_bytes: memory of one worker at the largest batch.
        base_bytes: memory of the wrapper and TorchServe's Java process together.
    """

    worker_rows_per_second: float
    wrapper_requests_per_second: float
    request_seconds: float
    worker_bytes: float
    base_bytes: float

    def __post_init__(self) -> None:
        for item in fields(self):
            if not 0 < getattr(self, item.name) < math.inf:
                raise ValueError(f"{item.name} must be a positive number, not {getattr(self, item.name)}")


@dataclass(frozen=True)
class Load:
    """What is asked of the service at its busiest."""

    requests_per_second: float
    rows_per_request: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.requests_per_second < math.inf and 0 < self.rows_per_request < math.inf):
            raise ValueError("a load needs more than 0 requests per second and more than 0 rows per request")


@dataclass(frozen=True)
class Pod:
    """What one replica may use.

    Attributes:
        cpus: cores, of which each worker takes one and the wrapper with TorchServe's Java another.
        memory_bytes: the container's memory limit.
        utilisation: the part of its capacity that a replica is planned for. Queues grow without bound towards 1.
    """

    cpus: int = 2
    memory_bytes: float = 4 * GIB
    utilisation: float = 0.7

    def __post_init__(self) -> None:
        if self.cpus < 1 or not 0 < self.utilisation < 1:
            raise ValueError("a pod needs at least one core, and a utilisation between 0 and 1")


@dataclass(frozen=True)
class Plan:
    """``connections`` are HTTP/1.1 ones over all replicas; ``concurrency`` is one replica's share, Knative's target."""

    replicas: int
    workers: int
    connections: int
    concurrency: int
    saturates_first: str
    requests_per_second: float


def plan(load: Load, figures: Figures, pod: Optional[Pod] = None, spare: int = 1) -> Plan:
    """Replicas, workers and connections for a load.

    A replica's rate is the lower of what its workers and its wrapper process do, times the planned utilisation;
    the time in the system is taken as the unloaded one over (1 - utilisation), which an M/M/1 queue has (Kleinrock,
    Queueing Systems I, 1975), and requests in flight are rate times time (Little, 1961).

    Args:
        spare: replicas beyond the need, so that one may fail or restart.

    Raises:
        ValueError: the pod's memory does not hold one worker.
    """
    pod = pod or Pod()
    workers, bound = _workers(figures, pod)
    rates = {
        bound: workers * figures.worker_rows_per_second / load.rows_per_request,
        "wrapper": figures.wrapper_requests_per_second,
    }
    first = min(rates, key=lambda name: rates[name])
    rate = rates[first] * pod.utilisation
    needed = math.ceil(load.requests_per_second / rate)
    in_flight = load.requests_per_second * _seconds(load, figures, pod)
    return Plan(
        replicas=needed + spare,
        workers=workers,
        connections=max(1, math.ceil(in_flight)),
        concurrency=max(1, math.ceil(in_flight / needed)),
        saturates_first=first,
        requests_per_second=needed * rate,
    )


@dataclass(frozen=True)
class Targets:
    """What an autoscaler aims at in one replica that is as busy as planned.

    Attributes:
        concurrency: requests in flight: Knative's ``scaleTarget``.
        queue: of those, requests that wait in the wrapper: the target on ``kserve_wrapper_queue_requests``.
        cpu_percent: of the CPU that the pod requests: a HorizontalPodAutoscaler's target.
    """

    concurrency: int
    queue: int
    cpu_percent: int


def targets(figures: Figures, pod: Optional[Pod] = None, rows_per_request: float = 1.0) -> Targets:
    """The targets for requests of so many rows.

    Both are rate times time (Little, 1961): the time in the system as ``plan`` takes it, and the part of it that a
    lone request does not have.
    """
    pod = pod or Pod()
    full = plan(Load(1, rows_per_request), figures, pod, spare=0).requests_per_second
    in_flight = full * _seconds(Load(full, rows_per_request), figures, pod)
    # The time in the system is a lone request's over (1 - utilisation): this part of it is waiting.
    waiting = in_flight * pod.utilisation
    return Targets(max(1, math.ceil(in_flight)), max(1, math.ceil(waiting)), round(100 * pod.utilisation))


def _workers(figures: Figures, pod: Pod) -> Tuple[int, str]:
    """Workers of one replica, and what keeps them from being more: its cores or its memory."""
    by_cpu = max(1, pod.cpus - 1)
    by_memory = int((pod.memory_bytes - figures.base_bytes) // figures.worker_bytes)
    if by_memory < 1:
        need = (figures.base_bytes + figures.worker_bytes) / GIB
        raise ValueError(f"{pod.memory_bytes / GIB:.1f} GiB do not hold one worker; give the pod {need:.1f} GiB")
    return (by_memory, "memory") if by_memory < by_cpu else (by_cpu, "workers")


def _seconds(load: Load, figures: Figures, pod: Pod) -> float:
    """A request's time in the system at the planned utilisation."""
    extra = max(0.0, load.rows_per_request - 1) / figures.worker_rows_per_second
    return (figures.request_seconds + extra) / (1 - pod.utilisation)


def read(path: Path = REPORT) -> Tuple[Figures, Dict[str, Any]]:
    """The figures, and the whole report that they stand in.

    Raises:
        FiguresError: no report, no JSON, or a figure that is missing or no positive number.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FiguresError(f"{path}: there is no report. Make one as benchmarks/README.md says.") from None
    except ValueError as error:
        raise FiguresError(f"{path}: is not JSON ({error}).") from None
    names = [item.name for item in fields(Figures)]
    missing = [name for name in names if not isinstance(report.get(name), (int, float))]
    if missing:
        raise FiguresError(f"{path}: lacks {', '.join(missing)}.")
    try:
        return Figures(**{name: float(report[name]) for name in names}), report
    except ValueError as error:
        raise FiguresError(f"{path}: {error}.") from None


#: The loads of the page's table: requests per second, rows per request.
_LOADS = ((100, 1), (1000, 1), (5000, 1), (100, 64), (1000, 64))


def capacity_table(figures: Figures, report: Mapping[str, Any]) -> str:
    """Plans for some loads, in Markdown."""
    lines = [
        f"Measured on: {report.get('machine', 'unknown')}; model {report.get('model', 'unknown')}; "
        f"commit {report.get('commit', 'unknown')}; {report.get('date', 'undated')}.",
        "",
        "| requests/s | rows per request | replicas (one spare) | workers each | connections | concurrency target "
        "| saturates first |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for requests, rows in _LOADS:
        made = plan(Load(requests, rows), figures)
        lines.append(
            f"| {requests} | {rows} | {made.replicas} | {made.workers} | {made.connections} | {made.concurrency} "
            f"| {made.saturates_first} |"
        )
    return "\n".join(lines)


def cold_start_table(report: Mapping[str, Any]) -> str:
    """The steps of a cold start with their seconds, in Markdown."""
    steps: List[Mapping[str, Any]] = report.get("cold_start", [])
    if not steps:
        return "Not measured yet: `python -m benchmarks.cold_start` measures it and adds it to the report."
    lines = [f"Measured on: {report.get('cold_start_on', 'unknown')}.", ""]
    lines += ["| step | seconds | since the start |", "| --- | ---: | ---: |"]
    total = 0.0
    for step in steps:
        total += step["seconds"]
        lines.append(f"| {step['step']} | {step['seconds']:.2f} | {total:.2f} |")
    return "\n".join(lines)


def models_table(report: Mapping[str, Any]) -> str:
    """Loading of several models, plain and compiled ahead, in Markdown."""
    rows: List[Mapping[str, Any]] = report.get("cold_start_models", [])
    if not rows:
        return "Not measured yet: `python -m benchmarks.cold_start` measures it and adds it to the report."
    lines = [f"Measured on: {report.get('cold_start_models_on', 'unknown')}.", ""]
    lines += [
        "| model | archive | model loaded, s | first answer, s | in all, s |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        for name, words in (("plain", "as before: TorchScript, warmed up"), ("ahead", "compiled ahead")):
            seconds = [step["seconds"] for step in row[name]]
            lines.append(f"| {row['model']} | {words} | {seconds[-2]:.2f} | {seconds[-1]:.2f} | {sum(seconds):.2f} |")
    return "\n".join(lines)


def tables(path: Path = REPORT) -> Dict[str, str]:
    """The page's generated parts by name; where there is no report they say so."""
    try:
        figures, report = read(path)
    except FiguresError:
        report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        nothing = "Not measured yet: `benchmarks/results/capacity.json` has no figures for it."
        return {"capacity": nothing, **_starts(report), **measured.parts(path.parent)}
    return {"capacity": capacity_table(figures, report), **_starts(report), **measured.parts(path.parent)}


def _starts(report: Mapping[str, Any]) -> Dict[str, str]:
    return {"cold-start": cold_start_table(report), "cold-start-models": models_table(report)}


def fill(page: str, parts: Mapping[str, str]) -> str:
    """The page with each part between its markers, ``<!-- NAME -->`` and ``<!-- /NAME -->``.

    Raises:
        ValueError: a marker is missing.
    """
    for name, text in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if start not in page or end not in page:
            raise ValueError(f"the page lacks the markers {start} and {end}")
        head, rest = page.split(start, 1)
        page = f"{head}{start}\n{text}\n{end}{rest.split(end, 1)[1]}"
    return page


def main(arguments: Optional[Sequence[str]] = None) -> int:
    options = _parser().parse_args(arguments)
    if options.write:
        PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), tables(options.report)), encoding="utf-8")
        return 0
    try:
        pod = Pod(options.cpus, options.memory_gib * GIB, options.utilisation)
        figures = read(options.report)[0]
        made: Union[Plan, Targets] = (
            targets(figures, pod, options.rows)
            if options.targets
            else plan(Load(options.requests_per_second, options.rows), figures, pod, options.spare)
        )
    except (FiguresError, ValueError) as error:
        print(f"capacity: {error}", file=sys.stderr)
        return 1
    for item in fields(made):
        print(f"{item.name}: {getattr(made, item.name)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--requests_per_second", type=float, default=100.0)
    parser.add_argument("--rows", type=float, default=1.0, help="rows per request")
    parser.add_argument("--cpus", type=int, default=2, help="cores of a replica")
    parser.add_argument("--memory_gib", type=float, default=4.0, help="memory limit of a replica")
    parser.add_argument("--utilisation", type=float, default=0.7, help="planned part of a replica's capacity")
    parser.add_argument("--spare", type=int, default=1, help="replicas beyond the need")
    parser.add_argument("--targets", action="store_true", help="what an autoscaler aims at in one replica")
    parser.add_argument("--write", action="store_true", help="fill in the tables of docs/scaling.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
