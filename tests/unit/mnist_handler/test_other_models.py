"""The base without images, and the second model of the store."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any, List, Type

import numpy as np
import pytest

from mnist_handler import ImageClassifier, InputSpec, InputValues, Request, RequestError, RowHandler
from mnist_handler.config import ConfigError
from mnist_handler.envelopes.v1 import parse
from tests.unit.mnist_handler.conftest import ROOT, RequestProcessor, make_context, start
from tests.unit.mnist_handler.helpers import ask, ask_one, labels, png, refusal, v1, v2

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


class Integers(RowHandler):
    inputs = (InputSpec("a", "INT64", (3,)), InputSpec("b", "INT64", ()))


class Regression(RowHandler):
    inputs = (InputSpec("a", "FP32", (3,)),)
    classifies = False


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> RowHandler:
    folder = tmp_path_factory.mktemp("two")
    (folder / "two_inputs.py").write_text(TWO_INPUTS)
    return start(folder, {"max_batch_size": 4}, Two, model_file="two_inputs.py", weights=None)


def test_several_inputs(two: RowHandler) -> None:
    a, b = np.arange(15, dtype=np.float32).reshape(5, 3), np.array([1, -1, 1, -1, 1], np.float32)
    answer = ask_one(two, Request([("b", InputValues(b)), ("a", InputValues(a))]))
    assert np.asarray(answer.outputs["predict"]).tolist() == [0, 1, 0, 1, 0]
    lists = Request([("a", InputValues(a.tolist())), ("b", InputValues(b.tolist()))])
    assert np.asarray(ask_one(two, lists).outputs["predict"]).tolist() == [0, 1, 0, 1, 0]


def test_several_inputs_are_explained(two: RowHandler) -> None:
    a, b = np.ones((2, 3), np.float32), np.array([2, 3], np.float32)
    answer = ask_one(
        two, Request([("a", InputValues(a)), ("b", InputValues(b))], explain=True, parameters={"target": 1})
    )
    np.testing.assert_allclose(answer.outputs["explain"], a, atol=1e-6)
    np.testing.assert_allclose(answer.outputs["explain_1"], -b, atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([("a", InputValues(np.ones((2, 3), np.float32)))], "input b is missing; the model takes a, b"),
        ([("data", InputValues([[[1, 2, 3], 4]]))], "unknown input data; the model takes a, b"),
        (
            [(name, InputValues(np.ones((1, 3)))) for name in "aba"],
            "input a more than once; the model takes a, b, each once",
        ),
        (
            [("a", InputValues(np.ones((2, 3)))), ("b", InputValues(np.ones(3)))],
            "unequally many rows: {'a': 2, 'b': 3}",
        ),
        (
            [("a", InputValues(np.ones((2, 4)))), ("b", InputValues(np.ones(2)))],
            "input a: shape [2, 4] is not [3] or [rows, 3]",
        ),
        ([("a", InputValues([["x"] * 3])), ("b", InputValues([1]))], "row 0: input a: not numbers in nested lists"),
        (
            [("a", InputValues([[1, 2, 3], [1, 2], "x", [1, 2, 3]])), ("b", InputValues([1] * 4))],
            "row 1: input a: shape [2] is not [3] or [rows, 3]; row 2: input a: not numbers in nested lists",
        ),
    ],
)
def test_wrong_inputs(inputs: Any, words: str, two: RowHandler) -> None:
    assert words in refusal(two, Request(inputs)).message


class Embedding(RowHandler):
    inputs = (InputSpec("a", "INT64", (3,), low=0, high=9), InputSpec("b", "INT64", (), high=5))


class Lengths(RowHandler):
    inputs = (InputSpec("a", "FP32", (-1,)),)
    classifies = False


def test_values_beyond_an_inputs_bounds(tmp_path: Path) -> None:
    (tmp_path / "two_inputs.py").write_text(TWO_INPUTS)
    handler = start(tmp_path, {"max_batch_size": 2}, Embedding, model_file="two_inputs.py", weights=None)
    rows = [[0, 5, 9], [0, 10, 1], ["x", 1, 1], [-1, 1, 1]]
    for values in (rows[:2], np.array(rows[:2])):
        error = refusal(handler, Request([("a", InputValues(values)), ("b", InputValues([1, 1]))]))
        assert error.rows == {1: "input a: values from 0 to 10 are not from 0 to 9"}
    error = refusal(handler, Request([("a", InputValues(rows)), ("b", InputValues([1] * 4))]))
    assert sorted(error.rows) == [1, 2, 3]
    assert error.rows[2] == "input a: not numbers in nested lists, or lists of unequal depths"
    error = refusal(handler, Request([("a", InputValues(rows[:1])), ("b", InputValues([6]))]))
    assert error.rows == {0: "input b: value 6 is not at most 5"}
    good = Request([("a", InputValues(rows[:1])), ("b", InputValues([5]))])
    bad = Request([("a", InputValues(rows[1:2])), ("b", InputValues([5]))])
    answers = ask(handler, good, bad)
    assert labels(answers[0]) == [0]
    assert isinstance(answers[1], RequestError)


def test_rows_of_several_names_for_one_input(tmp_path: Path) -> None:
    (tmp_path / "regression.py").write_text(REGRESSION)
    handler = start(tmp_path, {"max_batch_size": 2}, Regression, model_file="regression.py", weights=None)
    _, request = parse({"instances": [{"x": [1, 2, 3], "top_k": 2}]}, False)
    assert refusal(handler, request).message == "unknown input x, top_k; the model takes a"
    _, request = parse({"instances": [{"x": [1, 2, 3]}]}, False)
    assert np.asarray(ask_one(handler, request).outputs["predict"]).tolist() == [6]


def test_rows_of_unequal_lengths(tmp_path: Path) -> None:
    (tmp_path / "regression.py").write_text(REGRESSION)
    config = {"max_batch_size": 2, "compile": "none"}
    handler = start(tmp_path, config, Lengths, model_file="regression.py", weights=None)
    assert np.asarray(ask_one(handler, v1([1, 2], [3, 4])).outputs["predict"]).tolist() == [3, 7]
    error = refusal(handler, v1([1, 2], [3], [4, 5]))
    assert error.rows == {1: "shape [1] is not [2], as the rows before it have: pad them"}


def test_integers_are_served_and_not_explained(tmp_path: Path) -> None:
    (tmp_path / "two_inputs.py").write_text(TWO_INPUTS)
    handler = start(tmp_path, {"max_batch_size": 2}, Integers, model_file="two_inputs.py", weights=None)
    inputs = [("a", InputValues([[1, 2, 3], [4, 5, 6]])), ("b", InputValues([1, -1]))]
    assert np.asarray(ask_one(handler, Request(inputs)).outputs["predict"]).tolist() == [0, 1]
    assert "no explanations" in refusal(handler, Request(inputs, explain=True)).message


def test_a_model_without_classes(tmp_path: Path) -> None:
    (tmp_path / "regression.py").write_text(REGRESSION)
    handler = start(tmp_path, {"max_batch_size": 2}, Regression, model_file="regression.py", weights=None)
    answer = ask_one(handler, v2(np.ones((5, 3), np.float32)))
    assert np.asarray(answer.outputs["predict"]).tolist() == [3.0] * 5
    assert handler.describe_handle()["outputs"] == [{"name": "predict", "datatype": "FP32", "shape": [-1]}]
    assert "no explanations" in refusal(handler, v2(np.ones((1, 3)), explain=True)).message
    for asked in ({"top_k": 1}, {"top_k": 2}, {"top_k": "most"}, {"probabilities": True}):
        assert "this model gives no classes" in refusal(handler, v2(np.ones((1, 3)), **asked)).message
    assert "parameter probabilities: 3 is not true" in refusal(handler, v2(np.ones((1, 3)), probabilities=3)).message
    assert np.asarray(ask_one(handler, v2(np.ones((1, 3)), probabilities=False)).outputs["predict"]).tolist() == [3.0]


def module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, STORE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def densenet(tmp_path_factory: pytest.TempPathFactory) -> ImageClassifier:
    folder = tmp_path_factory.mktemp("densenet")
    assert module("fetch").main(["--random-weights", "--out", str(folder)]) == 0
    shutil.copy(STORE / "densenet_161.py", folder)
    kind: Type[ImageClassifier] = module("densenet_161_handler").DenseNet161Classifier
    config = {"max_batch_size": 2, "batch_buckets": [2], "compile": "none", "internal_batch_size": 2}
    started = start(folder, config, kind, model_file="densenet_161.py", weights="densenet_161.pt")
    assert isinstance(started, ImageClassifier)
    return started


def test_densenet_names_what_it_sees(densenet: ImageClassifier) -> None:
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


def test_densenet_sees_what_torchvision_would_show_it(densenet: ImageClassifier) -> None:
    from PIL import Image
    from torchvision.models import DenseNet161_Weights

    picture = np.random.default_rng(1).integers(0, 256, (3, 300, 401), dtype=np.uint8)
    decoded = densenet.decode([("x", InputValues([png(picture)]))], _asked())
    (prepared,) = densenet.preprocess([decoded])
    reference = DenseNet161_Weights.IMAGENET1K_V1.transforms()
    wanted = reference(Image.fromarray(picture.transpose(1, 2, 0)))
    # The crop is resized straight out of the image: a few pixels round to the next of 256 levels.
    apart = (prepared[0] - wanted).abs()
    assert apart.max() < 1.01 / 255 / min(densenet.std)
    assert (apart > 1e-4).float().mean() < 0.01


def test_densenet_is_explained(densenet: ImageClassifier) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (3, 224, 224), dtype=np.uint8)
    answer = ask_one(densenet, v2(picture, explain=True, method="saliency", target=207))
    explained = np.asarray(answer.outputs["explain"])
    assert explained.shape == (1, 3, 224, 224)
    assert np.isfinite(explained).all()
    assert explained.max() > 0


def _asked() -> Any:
    from mnist_handler.inputs.parameters import RequestParameters

    return RequestParameters({})


ONE_LOGIT = """
from torch import nn
class OneLogit(nn.Module):
    def forward(self, a):
        return a.sum(1, keepdim=True)
"""
NO_GRADIENT = """
from torch import nn
class Steps(nn.Module):
    def forward(self, a):
        return (a > 0).float()
"""
FLAGS = """
from torch import nn
class Flags(nn.Module):
    def forward(self, a):
        return a.float().sum(1)
"""


class Classes(RowHandler):
    inputs = (InputSpec("a", "FP32", (3,)),)


class Flags(RowHandler):
    inputs = (InputSpec("a", "BOOL", (2,)),)
    classifies = False


def serve(folder: Path, model: str, kind: Type[RowHandler], **config: Any) -> RowHandler:
    (folder / "a_model.py").write_text(model)
    settings = {"max_batch_size": 4, "batch_buckets": [1, 4], **config}
    return start(folder, settings, kind, model_file="a_model.py", weights=None)


def test_one_logit_is_two_classes(tmp_path: Path) -> None:
    (tmp_path / "index_to_name.json").write_text('{"0": "no", "1": "yes"}')
    handler = serve(tmp_path, ONE_LOGIT, Classes)
    answer = ask_one(handler, v1([1, 1, 1], [-1, -1, 0], [0, 0, 0], probabilities=True))
    assert list(answer.outputs["predict"]) == ["yes", "no", "no"]
    sigmoid = 1 / (1 + np.exp(-np.array([3.0, -2.0, 0.0])))
    np.testing.assert_allclose(answer.outputs["probabilities"], np.stack([1 - sigmoid, sigmoid], 1), rtol=1e-5)
    assert handler.describe_handle()["optional_outputs"][0]["shape"] == [-1, 2]


def test_one_logit_is_explained_for_either_class(tmp_path: Path) -> None:
    handler = serve(tmp_path, ONE_LOGIT, Classes)
    row = [1.0, 2.0, -1.0]
    for target, sign in ((1, 1), (0, -1), (None, 1)):
        answer = ask_one(handler, v1(row, explain=True, **({} if target is None else {"target": target})))
        np.testing.assert_allclose(answer.outputs["explain"], [np.array(row) * sign], atol=1e-5)


def test_a_model_without_gradient_loads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    handler = serve(tmp_path, NO_GRADIENT, Classes)
    assert caplog.text.count("has no explanations") == 1
    assert labels(ask_one(handler, v1([-1, 1, -1]))) == [1]
    assert "no explanations" in refusal(handler, v1([1, 1, 1], explain=True)).message
    assert "explain" not in [output["name"] for output in handler.describe_handle()["optional_outputs"]]


def test_true_and_false_for_a_bool_input(tmp_path: Path) -> None:
    handler = serve(tmp_path, FLAGS, Flags)
    answer = ask_one(handler, v1([True, False], [True, True], [0, 1]))
    assert np.asarray(answer.outputs["predict"]).tolist() == [1, 2, 1]
    array = ask_one(handler, v2(np.array([[True, True], [False, False]])))
    assert np.asarray(array.outputs["predict"]).tolist() == [2, 0]
    assert refusal(handler, v1([True, False], [True, 7], [2, 0])).rows.keys() == {1, 2}


def test_true_where_a_number_is_wanted(tmp_path: Path) -> None:
    handler = serve(tmp_path, REGRESSION, Regression)
    assert refusal(handler, v1([1, 2, 3], [True, True, True])).rows == {1: "true and false where FP32 is wanted"}


@pytest.mark.parametrize("as_array", [False, True])
def test_what_is_not_finite_fails_its_own_row(as_array: bool, tmp_path: Path) -> None:
    handler = serve(tmp_path, REGRESSION, Regression)
    rows: Any = [[1.0, 2.0, 3.0], [1.0, float("nan"), 2.0], [4.0, 5.0, 6.0], [float("inf"), 0.0, 0.0]]
    request = v2(np.array(rows)) if as_array else v1(*rows)
    error = refusal(handler, request)
    assert sorted(error.rows) == [1, 3]
    assert error.rows[1] == "NaN or infinity among the values"


@pytest.mark.parametrize("name", ["data", "body", "image_bytes", "b64", "target", "parameters"])
def test_reserved_names_end_the_load(name: str, tmp_path: Path) -> None:
    class Reserved(RowHandler):
        inputs = (InputSpec("a", "FP32", ()), InputSpec(name, "FP32", (3,)))

    with pytest.raises(ConfigError, match=f"'{name}', which means something else"):
        serve(tmp_path, REGRESSION, Reserved)


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ((), "declares no inputs"),
        ((InputSpec("a", "FP32", ()), InputSpec("a", "FP32", ())), "two inputs are called 'a'"),
        ((InputSpec("a", "BYTES", ()),), "input a: a model takes no BYTES"),
    ],
)
def test_inputs_that_cannot_be_served(specs: Any, words: str, tmp_path: Path) -> None:
    class Wrong(RowHandler):
        inputs = specs

    with pytest.raises(ConfigError, match=words):
        serve(tmp_path, REGRESSION, Wrong)


def test_occlusion_of_several_inputs_is_bounded_over_all(two: RowHandler) -> None:
    inputs = [("a", InputValues(np.ones((1, 3), np.float32))), ("b", InputValues(np.ones(1, np.float32)))]
    parameters = {"method": "occlusion", "window": 1, "strides": 2}
    error = refusal(two, Request(inputs, explain=True, parameters=parameters))
    assert error.message == "occlusion leaves gaps: strides (2) are at most the window (1)"
    answer = ask_one(two, Request(inputs, explain=True, parameters={"method": "occlusion", "target": 1}))
    np.testing.assert_allclose(answer.outputs["explain"], [[1, 1, 1]])
    np.testing.assert_allclose(answer.outputs["explain_1"], [-1])


def test_whether_rows_are_independent_is_told(tmp_path: Path) -> None:
    class Dependent(Regression):
        independent_rows = False

    assert "independent_rows" in serve(tmp_path, REGRESSION, Regression).describe_handle()["extensions"]
    assert "independent_rows" not in serve(tmp_path, REGRESSION, Dependent).describe_handle()["extensions"]


def test_declared_headers_reach_the_handler(tmp_path: Path) -> None:
    class Tenants(Regression):
        request_headers = ("X-Tenant",)

        def answer(self, requests: List[Request], context: Any) -> List[Any]:
            seen.extend(request.headers for request in requests)
            return super().answer(requests, context)

    seen: List[Any] = []
    handler = serve(tmp_path, REGRESSION, Tenants)
    assert handler.describe_handle()["request_headers"] == ["x-tenant"]
    context = make_context(tmp_path)
    context.request_processor = [RequestProcessor({"x-TENANT": "blue", "x-other": "1"}), RequestProcessor({})]
    handler.handle([{"body": {"instances": [[1, 2, 3]]}}] * 2, context)
    assert seen == [{"x-tenant": "blue"}, {}]
