"""Compiled models that answer otherwise than eager are not served."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest
import torch

from mnist_handler import InputSpec, RowHandler
from mnist_handler.compute.verify import Mismatch, probes, verify
from mnist_handler.config import ConfigError
from tests.unit.mnist_handler.conftest import start
from tests.unit.mnist_handler.helpers import AUTO, ask_one, needs_torchscript, v1

SUM_BRANCH = """
from torch import nn
class Branches(nn.Module):
    def forward(self, a):
        return a * 2.0 if a.sum() > 0 else a * -3.0
"""
SCALE_BRANCH = """
from torch import nn
class Branches(nn.Module):
    def forward(self, a):
        return a * 4 / 255 if a.max() > 1 else a * 4
"""
UNTRACEABLE = """
from torch import nn
class Untraceable(nn.Module):
    def forward(self, a):
        return {"scores": a}["scores"] * float(a.shape[0] and a.sum().item() + 1) * 0 + a
"""


class Plain(RowHandler):
    inputs = (InputSpec("a", "FP32", (3,)),)
    classifies = False
    explainable = False


def serve(folder: Path, model: str, **config: Any) -> RowHandler:
    (folder / "branches.py").write_text(model)
    return start(folder, {"max_batch_size": 4, **config}, Plain, model_file="branches.py", weights=None)


@pytest.mark.parametrize(
    ("model", "row", "wanted"),
    [(SUM_BRANCH, [1, 2, 3], [2, 4, 6]), (SCALE_BRANCH, [255, 255, 0], [4, 4, 0]), (UNTRACEABLE, [1, 2, 3], [1, 2, 3])],
)
def test_auto_answers_as_eager(
    model: str, row: List[int], wanted: List[int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        handler = serve(tmp_path, model)
    np.testing.assert_allclose(ask_one(handler, v1(row)).outputs["predict"], [wanted])
    if handler._mode == "none" and AUTO != "none":
        lines = [record.getMessage() for record in caplog.records if "compile: auto" in record.getMessage()]
        assert len(lines) == 1
        assert "\n" not in lines[0]


def test_a_branch_is_seen_and_a_valid_model_is_compiled(tmp_path: Path, archive: Path) -> None:
    assert serve(tmp_path, SUM_BRANCH)._mode == "none"
    assert start(archive, {"max_batch_size": 1})._mode == AUTO


@needs_torchscript
def test_what_was_asked_for_and_answers_wrongly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"handler.compile: torchscript: it cannot be compiled \(TraceError"):
        serve(tmp_path, SUM_BRANCH, compile="torchscript")


def test_equal_models_pass_and_eager_is_asked_first() -> None:
    spec = InputSpec("a", "FP32", (-1,))

    def example(rows: int, length: int) -> List[torch.Tensor]:
        return [torch.zeros(rows, length)]

    shapes = [inputs[0].shape for _, inputs in probes([spec], example, [1, 2])]
    assert {shape[0] for shape in shapes} == {1, 2}
    assert len({shape[1] for shape in shapes}) > 1
    verify([lambda a: a * 2], lambda a: a + a, probes([spec], example, [1, 2]), "fp32")
    with pytest.raises(Mismatch, match="by"):
        verify([lambda a: a * 2.01], lambda a: a * 2, probes([spec], example, [3]), "fp32")
    with pytest.raises(Mismatch, match="shape"):
        verify([lambda a: a[:1]], lambda a: a, probes([spec], example, [3]), "fp32")


def test_values_stay_within_the_bounds_of_an_input() -> None:
    specs = [InputSpec("a", "INT64", (50,), low=3, high=6), InputSpec("b", "FP32", (50,), low=-0.5, high=0.5)]

    def example(rows: int, length: int) -> List[torch.Tensor]:
        return [torch.zeros((rows, 50), dtype=torch.int64), torch.zeros(rows, 50)]

    for _, (integers, floats) in probes(specs, example, [2]):
        assert integers.dtype == torch.int64
        assert 3 <= integers.min() <= integers.max() <= 6
        assert -0.5 <= floats.min() <= floats.max() <= 0.5
