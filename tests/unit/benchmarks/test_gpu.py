"""The GPU benchmark's own code, run on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.command import main
from benchmarks.gpu.timing import measure
from benchmarks.reports.gpu import STAGES, report

FULL = """
import json
from benchmarks.gpu.stages import build, times
print(json.dumps(times(build("cpu", "fp32", "torchscript", [1, 4]), 4, 0.0)))
"""
ROOT = Path(__file__).resolve().parents[3]
BARE = """
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in ("ts", "captum") else real(name, package)
from benchmarks.gpu import standin
assert standin.prepare() == ["torchserve", "captum"]
from benchmarks.gpu.stages import build, times
found = times(build("cpu", "fp32", "none", [4]), 4, 0.0)
print(sorted(found))
"""
FAILING = """
import sys
from benchmarks.gpu import command
real = command.build

def build(device, precision, mode, batches):
    if precision == "fp32":
        return real(device, precision, mode, batches)
    if mode == "none":
        raise ValueError("no such thing")
    raise KeyboardInterrupt

def explain_time(handler, batch, seconds):
    raise RuntimeError("no room")

command.build, command.explain_time = build, explain_time
command.main(["--device", "cpu", "--batches", "1", "--seconds", "0.001", "--out", sys.argv[1]])
"""


def test_all_stages_are_timed() -> None:
    # In a process of its own: importing TorchServe leaves a file open, which is a warning here.
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == set(STAGES)
    assert all(value > 0 for value in found.values())


def test_a_machine_without_torchserve_and_captum_is_measured_too() -> None:
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "'inference'" in done.stdout


def test_a_failure_costs_no_other_figures(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FAILING, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0
    assert "KeyboardInterrupt" in done.stderr
    (path,) = tmp_path.iterdir()
    result = json.loads(path.read_text())
    found = result["devices"]["cpu"]
    modes = [(one["precision"], one["mode"]) for one in found["entries"]]
    assert modes == [("fp32", "none"), ("fp32", "torchscript")]
    failed = [(one["precision"], one["mode"], one["error"]) for one in found["failed"]]
    assert failed == [
        ("fp32", "explanations (none)", "RuntimeError: no room"),
        ("bf16", "none", "ValueError: no such thing"),
    ]
    text = report(result, path.with_suffix(".md"))
    assert "fp32 explanations (none) could not run: RuntimeError: no room" in text
    assert "Left out: not reached" in text


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "3600", "x"])
def test_seconds_are_some(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--device", "cpu", "--seconds", seconds])
    assert "argument --seconds" in capsys.readouterr().err


def test_a_measurement_calls_at_least_as_often_as_told() -> None:
    calls: list[int] = []
    wall, device = measure(lambda: calls.append(1), torch.device("cpu"), 0.0, least=7)
    assert len(calls) == 10
    assert wall == device > 0
