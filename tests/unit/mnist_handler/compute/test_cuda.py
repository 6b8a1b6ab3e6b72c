"""The same answers on a GPU as on the CPU, for each way of running there; skipped, and said so, where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
import torch

from mnist_handler import RowHandler
from tests.unit.mnist_handler.conftest import start
from tests.unit.mnist_handler.helpers import ask_one, needs_torchscript, v2

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")

#: How far a probability may be off: float32 sums in another order, convolutions in TF32 (3e-4 for these digits);
#: half precision has 8 or 11 bits.
TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2, "fp16": 1e-2}


@pytest.fixture(scope="module")
def on_cpu(archive: Path) -> RowHandler:
    return start(archive, {})


# Inductor imports what torch deprecates, and advises on TF32.
@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.*:DeprecationWarning",
    "ignore:.*torch.jit.*:FutureWarning",
    "ignore:TensorFloat32:UserWarning",
)
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize(
    "mode", ["none", pytest.param("torchscript", marks=needs_torchscript), "inductor", "cuda_graph"]
)
def test_predictions(
    archive: Path, on_cpu: RowHandler, digits: np.ndarray[Any, Any], precision: str, mode: str
) -> None:
    config: Dict[str, Any] = {"precision": precision, "compile": mode, "max_batch_size": 16}
    on_gpu = start(archive, config, gpu=0)
    assert on_gpu.device.type == "cuda"
    request = v2(digits[:40], probabilities=True)
    wanted, got = (ask_one(one, request).outputs["probabilities"] for one in (on_cpu, on_gpu))
    np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), atol=TOLERANCE[precision])


def test_predictions_in_full_float32(archive: Path, on_cpu: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    on_gpu = start(archive, {"tf32": False, "max_batch_size": 16}, gpu=0)
    request = v2(digits[:40], probabilities=True)
    wanted, got = (ask_one(one, request).outputs["probabilities"] for one in (on_cpu, on_gpu))
    np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), atol=1e-5)


def test_a_graph_forgets_the_rows_before(archive: Path, digits: np.ndarray[Any, Any]) -> None:
    on_gpu = start(archive, {"max_batch_size": 16, "batch_buckets": [16]}, gpu=0)
    request = v2(digits[:3], probabilities=True)
    before = ask_one(on_gpu, request).outputs["probabilities"]
    ask_one(on_gpu, v2(digits[3:19]))
    np.testing.assert_array_equal(ask_one(on_gpu, request).outputs["probabilities"], before)


def test_explanations_take_what_the_memory_holds(archive: Path) -> None:
    for config, least, most in (({}, 65, 4096), ({"internal_batch_size": 7}, 7, 7)):
        explanations = start(archive, config, gpu=0)._explanations
        assert explanations is not None
        assert least <= explanations.explainer._limit <= most


def test_attributions(archive: Path, on_cpu: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    on_gpu = start(archive, {}, gpu=0)
    request = v2(digits[:5], explain=True, target=3)
    # TF32's 10 bits alone would move an attribution by 0.02.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        wanted, got = (ask_one(one, request).outputs["explain"] for one in (on_cpu, on_gpu))
    np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), atol=1e-2)
