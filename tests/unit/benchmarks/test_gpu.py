"""The GPU benchmark's own code, run on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.gpu.timing import measure
from benchmarks.reports.gpu import STAGES

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


def test_a_measurement_calls_at_least_as_often_as_told() -> None:
    calls: list[int] = []
    wall, device = measure(lambda: calls.append(1), torch.device("cpu"), 0.0, least=7)
    assert len(calls) == 10
    assert wall == device > 0
