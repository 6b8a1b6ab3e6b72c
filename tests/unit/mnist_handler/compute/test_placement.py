"""Where tensors lie, on a device that is simulated: no GPU is needed to see two devices mixed, or a needless transfer.

What only a GPU can show is in ``test_cuda.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest
import torch

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = "tests.unit.mnist_handler.compute.simulated_gpu"

if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 9):
    pytest.skip("torch below 2.9 has no device written in Python", allow_module_level=True)


def simulate(kind: str) -> Dict[str, Any]:
    command, environ = [sys.executable, "-m", PROGRAM, kind], {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found: Dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def cuda() -> Dict[str, Any]:
    return simulate("cuda")


# Half precision has 8 or 11 bits.
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("bf16", 5e-2), ("fp16", 1e-2)])
def test_predictions(cuda: Dict[str, Any], precision: str, tolerance: float) -> None:
    assert cuda[precision].keys() == {"predict", "probabilities"}
    assert cuda[precision]["probabilities"] < tolerance
    assert (cuda[precision]["probabilities"] > 1e-5) == (precision != "fp32")  # another type did take part


def test_a_batch_travels_once(cuda: Dict[str, Any]) -> None:
    assert cuda["plain"] == {"predict": 0}
    assert cuda["plain travels"] == {"to": 1, "from": 1}


def test_rows_of_three_forms(cuda: Dict[str, Any]) -> None:
    assert cuda["mixed"] == {"predict": 0}
    assert cuda["mixed travels"] == {"to": 4, "from": 1}  # each form, and the order of the rows


def test_explanations() -> None:
    found = simulate("other")
    assert found.keys() >= {"integrated_gradients", "saliency", "input_x_gradient", "deep_lift", "occlusion"}
    for method, distances in found.items():
        assert "explain" in distances, method
        assert max(distances.values()) < 1e-5, method
