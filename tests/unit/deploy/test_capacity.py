"""The capacity function: plans carry the load, no plan wastes a replica, and the figures are the report's."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmarks import capacity
from benchmarks.capacity import GIB, Figures, FiguresError, Load, Pod, fill, main, plan, read, tables, targets
from tests.unit.deploy.manifests import CONFIG
from tests.unit.deploy.manifests import read as read_manifests
from tests.unit.deploy.test_monitoring import wrapper_metrics

FIGURES = Figures(
    worker_rows_per_second=1000,
    wrapper_requests_per_second=4000,
    request_seconds=0.002,
    worker_bytes=GIB,
    base_bytes=GIB,
)
RATES = st.floats(1, 1e5)
LOADS = st.builds(Load, RATES, st.floats(1, 512))
MEASURED = st.builds(Figures, RATES, RATES, st.floats(1e-4, 10), st.floats(1e8, 1e9), st.floats(1e8, 1e9))
PODS = st.builds(Pod, st.integers(1, 64), st.floats(4e9, 1e12), st.floats(0.1, 0.95))


def test_a_plan_by_hand() -> None:
    """Two cores: one worker, 1000 rows/s, 700 at 70%. 2000 requests of a row need 3 replicas, and a spare."""
    made = plan(Load(2000), FIGURES)
    assert (made.replicas, made.workers, made.saturates_first) == (4, 1, "workers")
    assert made.connections == math.ceil(2000 * 0.002 / 0.3) == 14
    assert made.concurrency == 5
    assert made.requests_per_second == pytest.approx(2100)


def test_many_workers_leave_the_wrapper_first() -> None:
    made = plan(Load(5000), FIGURES, Pod(cpus=17, memory_bytes=32 * GIB))
    assert (made.workers, made.saturates_first) == (16, "wrapper")
    assert made.replicas == math.ceil(5000 / 2800) + 1


def test_little_memory_leaves_fewer_workers() -> None:
    made = plan(Load(100), FIGURES, Pod(cpus=8, memory_bytes=3.5 * GIB))
    assert (made.workers, made.saturates_first) == (2, "memory")
    with pytest.raises(ValueError, match=r"give the pod 2\.0 GiB"):
        plan(Load(100), FIGURES, Pod(memory_bytes=1.5 * GIB))


@given(load=LOADS, figures=MEASURED, pod=PODS, spare=st.integers(0, 5))
def test_a_plan_carries_the_load_and_one_replica_less_does_not(
    load: Load, figures: Figures, pod: Pod, spare: int
) -> None:
    made = plan(load, figures, pod, spare)
    needed = made.replicas - spare
    assert made.requests_per_second >= load.requests_per_second * (1 - 1e-9)
    assert made.requests_per_second * (needed - 1) / needed < load.requests_per_second * (1 + 1e-9)
    assert made.concurrency * needed >= made.connections - needed
    assert made.workers >= 1


@given(load=LOADS, more=st.floats(1, 10), figures=MEASURED, pod=PODS)
def test_more_load_never_needs_less(load: Load, more: float, figures: Figures, pod: Pod) -> None:
    first = plan(load, figures, pod)
    second = plan(Load(load.requests_per_second * more, load.rows_per_request), figures, pod)
    assert second.replicas >= first.replicas
    assert second.connections >= first.connections


@given(load=LOADS, figures=MEASURED, pod=PODS)
def test_what_saturates_first_is_the_smaller_rate(load: Load, figures: Figures, pod: Pod) -> None:
    made = plan(load, figures, pod)
    by_workers = made.workers * figures.worker_rows_per_second / load.rows_per_request
    assume(by_workers != figures.wrapper_requests_per_second)
    assert (made.saturates_first == "wrapper") == (figures.wrapper_requests_per_second < by_workers)


@pytest.mark.parametrize("requests", [0.0, -1.0, math.inf, math.nan])
def test_a_load_that_makes_no_sense_is_refused(requests: float) -> None:
    with pytest.raises(ValueError, match="requests per second"):
        Load(requests)


@pytest.mark.parametrize("field", ["worker_rows_per_second", "request_seconds", "base_bytes"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_figures_that_make_no_sense_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        Figures(**{**vars(FIGURES), field: value})


def report(tmp_path: Path, **change: object) -> Path:
    file = tmp_path / "capacity.json"
    file.write_text(json.dumps({**vars(FIGURES), "machine": "a machine", "model": "mnist", **change}))
    return file


def test_a_report_is_read(tmp_path: Path) -> None:
    assert read(report(tmp_path))[0] == FIGURES


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "there is no report"),
        ("{", "is not JSON"),
        ("{}", "lacks worker_rows_per_second, wrapper_requests_per_second"),
        (json.dumps({**vars(FIGURES), "base_bytes": 0}), "base_bytes must be a positive number"),
    ],
)
def test_a_report_that_cannot_be_used_is_told(tmp_path: Path, content: str | None, problem: str) -> None:
    file = tmp_path / "capacity.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(FiguresError, match=problem):
        read(file)


def test_the_page_is_in_step_with_the_report() -> None:
    """The committed page holds what the committed report gives: python -m benchmarks.capacity --write."""
    page = capacity.PAGE.read_text(encoding="utf-8")
    assert fill(page, tables()) == page


def test_tables_are_filled_from_a_report(tmp_path: Path) -> None:
    steps = [{"step": "wrapper", "seconds": 0.5}, {"step": "model", "seconds": 2.25}]
    rows = [{"model": "mnist", "plain": steps, "ahead": [{"step": "model", "seconds": 0.125}, steps[0]]}]
    parts = tables(report(tmp_path, cold_start=steps, cold_start_models=rows))
    assert "| 1000 | 1 | 3 | 1 | 7 | 4 | workers |" in parts["capacity"]
    assert "| model | 2.25 | 2.75 |" in parts["cold-start"]
    assert "| mnist | as before: TorchScript, warmed up | 0.50 | 2.25 | 2.75 |" in parts["cold-start-models"]
    assert "| mnist | compiled ahead | 0.12 | 0.50 | 0.62 |" in parts["cold-start-models"]
    filled = fill("a <!-- x -->\nold\n<!-- /x --> b", {"x": "new"})
    assert filled == "a <!-- x -->\nnew\n<!-- /x --> b"
    assert fill(filled, {"x": "new"}) == filled
    with pytest.raises(ValueError, match="lacks the markers"):
        fill(filled, {"y": "new"})


def test_without_a_report_the_tables_say_so(tmp_path: Path) -> None:
    assert all("Not measured yet" in text for text in tables(tmp_path / "absent.json").values())


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--report", str(report(tmp_path)), "--requests_per_second", "2000"]) == 0
    assert "replicas: 4" in capsys.readouterr().out
    assert main(["--report", str(tmp_path / "absent.json")]) == 1
    assert "there is no report" in capsys.readouterr().err


@given(MEASURED, PODS, st.floats(1, 512))
def test_a_targets_queue_is_a_part_of_what_is_in_flight(figures: Figures, pod: Pod, rows: float) -> None:
    assume(pod.memory_bytes > figures.base_bytes + figures.worker_bytes)
    made = targets(figures, pod, rows)
    assert 1 <= made.queue <= made.concurrency
    assert made.cpu_percent == round(100 * pod.utilisation)


def test_the_manifests_aim_at_what_the_planner_computes() -> None:
    made = targets(capacity.read()[0])

    def predictor(name: str) -> Any:
        (manifest,) = read_manifests(CONFIG / "kserve" / name)
        return manifest.value["spec"]["predictor"]

    assert predictor("torchserve-autoscaling-knative.yaml")["scaleTarget"] == made.concurrency
    hpa = predictor("torchserve-autoscaling-hpa.yaml")
    assert (hpa["scaleMetric"], hpa["scaleTarget"]) == ("cpu", made.cpu_percent)
    (metric,) = predictor("torchserve-autoscaling-keda.yaml")["autoScaling"]["metrics"]
    assert metric["external"]["target"]["averageValue"] == str(made.queue)
    (scaled,) = read_manifests(CONFIG / "kserve" / "keda-scaledobject.yaml")
    trigger = scaled.value["spec"]["triggers"][0]["metadata"]
    assert trigger["threshold"] == str(made.queue)
    for query in (trigger["query"], metric["external"]["metric"]["query"]):
        (used,) = re.findall(r"kserve_wrapper_\w+", query)
        assert used in wrapper_metrics()


def test_the_command_prints_the_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--targets"]) == 0
    assert f"queue: {targets(capacity.read()[0]).queue}\n" in capsys.readouterr().out
