"""The base without images, and the second model of the store."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any, Type

import numpy as np
import pytest
import torch

from mnist_handler import Block, InputSpec, Request, RowHandler

from .conftest import ROOT, start
from .helpers import ask_one, png, refusal, v1, v2

STORE = ROOT / "model-archiver" / "model-store" / "densenet_161"

TWO_INPUTS = """
import torch
from torch import nn
class Sum(nn.Module):
    def forward(self, a, b):
        return torch.stack([a.sum(1) + b, a.sum(1) - b, a[:, 0] * 0], dim=1)
"""
REGRESSION = """
from torch import nn
class Total(nn.Module):
    def forward(self, a):
        return a.sum(1)
"""


class Two(RowHandler):
    inputs = (InputSpec("a", "FP32", (3,)), InputSpec("b", "FP32", ()))


class Regression(RowHandler):
    inputs = (InputSpec("a", "FP32", (3,)),)
    classifies = False


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> RowHandler:
    folder = tmp_path_factory.mktemp("two")
    (folder / "two_inputs.py").write_text(TWO_INPUTS)
    return start(folder, {"device_batch_limit": 4}, Two, model_file="two_inputs.py", weights=None)


def test_several_inputs(two: RowHandler) -> None:
    a, b = np.arange(15, dtype=np.float32).reshape(5, 3), np.array([1, -1, 1, -1, 1], np.float32)
    answer = ask_one(two, Request([("b", Block(b)), ("a", Block(a))]))
    assert np.asarray(answer.outputs["predict"]).tolist() == [0, 1, 0, 1, 0]
    lists = Request([("a", Block(a.tolist())), ("b", Block(b.tolist()))])
    assert np.asarray(ask_one(two, lists).outputs["predict"]).tolist() == [0, 1, 0, 1, 0]


def test_several_inputs_are_explained(two: RowHandler) -> None:
    a, b = np.ones((2, 3), np.float32), np.array([2, 3], np.float32)
    answer = ask_one(two, Request([("a", Block(a)), ("b", Block(b))], explain=True, parameters={"target": 1}))
    np.testing.assert_allclose(answer.outputs["explain"], a, atol=1e-6)
    np.testing.assert_allclose(answer.outputs["explain_1"], -b, atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([("a", Block(np.ones((2, 3), np.float32)))], "inputs a are not a, b, each once"),
        ([("a", Block(np.ones((2, 3)))), ("b", Block(np.ones(3)))], "unequally many rows: {'a': 2, 'b': 3}"),
        ([("a", Block(np.ones((2, 4)))), ("b", Block(np.ones(2)))], "input a: shape [2, 4] is not [3] or [rows, 3]"),
        ([("a", Block([["x"] * 3])), ("b", Block([1]))], "input a: not numbers in nested lists"),
    ],
)
def test_wrong_inputs(inputs: Any, words: str, two: RowHandler) -> None:
    assert words in refusal(two, Request(inputs)).message


def test_a_model_without_classes(tmp_path: Path) -> None:
    (tmp_path / "regression.py").write_text(REGRESSION)
    handler = start(tmp_path, {"device_batch_limit": 2}, Regression, model_file="regression.py", weights=None)
    answer = ask_one(handler, v2(np.ones((5, 3), np.float32)))
    assert np.asarray(answer.outputs["predict"]).tolist() == [3.0] * 5
    assert handler.describe_handle()["outputs"] == [{"name": "predict", "datatype": "FP32", "shape": [-1]}]
    assert "no explanations" in refusal(handler, v2(np.ones((1, 3)), explain=True)).message
    assert "no classes" in refusal(handler, v2(np.ones((1, 3)), top_k=1)).message


def module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, STORE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def densenet(tmp_path_factory: pytest.TempPathFactory) -> RowHandler:
    folder = tmp_path_factory.mktemp("densenet")
    assert module("fetch").main(["--random-weights", "--out", str(folder)]) == 0
    shutil.copy(STORE / "densenet_161.py", folder)
    kind: Type[RowHandler] = module("densenet_161_handler").DenseNet161Classifier
    config = {"device_batch_limit": 2, "warm_up": [2], "compile": "none", "explain_batch_limit": 2}
    return start(folder, config, kind, model_file="densenet_161.py", weights="densenet_161.pt")


def test_densenet_names_what_it_sees(densenet: RowHandler) -> None:
    names = json.loads((Path(densenet.context.system_properties["model_dir"]) / "index_to_name.json").read_text())
    assert len(names) == 1000
    assert names["207"] == "golden retriever"
    picture = np.random.default_rng(0).integers(0, 256, (3, 300, 400), dtype=np.uint8)
    answer = ask_one(densenet, v1(png(picture), png(picture, "BMP"), top_k=3, probabilities=True))
    first, second = answer.outputs["predict"]
    assert first == second
    assert first in names.values()
    assert answer.outputs["top_k_classes"][0][0] == first
    assert densenet.describe_handle()["inputs"][0]["shape"] == [-1, 3, 224, 224]


def test_densenet_sees_what_torchvision_would_show_it(densenet: RowHandler) -> None:
    from PIL import Image
    from torchvision.models import DenseNet161_Weights

    picture = np.random.default_rng(1).integers(0, 256, (3, 300, 401), dtype=np.uint8)
    decoded = densenet.decode([("x", Block([png(picture)]))], _asked())
    (prepared,) = densenet.preprocess([decoded])
    reference = DenseNet161_Weights.IMAGENET1K_V1.transforms()
    wanted = reference(Image.fromarray(picture.transpose(1, 2, 0)))
    torch.testing.assert_close(prepared[0], wanted, rtol=1e-4, atol=1e-4)


def test_densenet_is_explained(densenet: RowHandler) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (3, 224, 224), dtype=np.uint8)
    answer = ask_one(densenet, v2(picture, explain=True, method="saliency", target=207))
    explained = np.asarray(answer.outputs["explain"])
    assert explained.shape == (1, 3, 224, 224)
    assert np.isfinite(explained).all()
    assert explained.max() > 0


def _asked() -> Any:
    from mnist_handler.parameters import Asked

    return Asked({})
