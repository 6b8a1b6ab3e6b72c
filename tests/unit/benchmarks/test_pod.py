"""The small pod, not started: what is sent, what a report says, and that limits hold where they can be set."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.control_group import CannotLimit, limited
from benchmarks.pod import MODELS, requests, snapshot
from benchmarks.reports.pod import report


@pytest.mark.parametrize("model", MODELS)
def test_each_request_brings_one_row(model: str) -> None:
    for request in requests(model):
        assert request.path == f"/v1/models/{model}:predict"
        assert len(json.loads(request.body)["instances"]) == 1


def test_every_model_gets_a_worker() -> None:
    models = json.loads(snapshot(["mnist", "minilm"]))["models"]
    assert {name: model["1.0"]["maxWorkers"] for name, model in models.items()} == {"mnist": 1, "minilm": 1}


def test_a_group_holds_its_processes_to_its_memory() -> None:
    try:
        with limited(f"test-{uuid.uuid4().hex}", 0.5, 256 * 2**20) as group:
            command = [sys.executable, "-c", "print(len(bytearray(60 << 20)))"]
            done = subprocess.run(command, preexec_fn=group.enter, capture_output=True, check=True)
            assert int(done.stdout) == 60 << 20
            assert 60 < group.memory()["most_mib"] <= 256
            more = [sys.executable, "-c", "print(len(bytearray(1000 << 20)))"]
            assert subprocess.run(more, preexec_fn=group.enter, capture_output=True, check=False).returncode != 0
    except CannotLimit as error:
        pytest.skip(f"no control groups here: {error}")


def test_the_report_tells_of_pods_that_did_not_start(tmp_path: Path) -> None:
    run = {"models": ["mnist"], "connections": 1, "requests_per_second": 5.0, "p50_ms": 1.0, "p99_ms": 2.0, "errors": 0}
    good = {"models": ["mnist"], "ready_s": 9.0, "resident_mib": 600.0, "most_mib": 700.0, "kills": 0, "runs": [run]}
    bad = {"models": ["minilm"], "fault": "the supervisor ended with status 1"}
    result = {"machine": machine.describe(), "seconds": 1.0, "processors": 1.0, "memory_gib": 2.0, "pods": [good, bad]}
    text = report(result, tmp_path / "x.md")
    assert "| mnist | 9.00 | 600 | 700 | 0 |" in text
    assert "| minilm | the supervisor ended with status 1 | | | |" in text
    assert "| mnist | mnist | 1 | 5.00 | 1.00 | 2.00 | 0 |" in text
