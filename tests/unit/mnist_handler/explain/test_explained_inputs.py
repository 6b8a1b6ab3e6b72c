"""Explanations of text, of tables with integers in them, and by a layer: what is explained, and in which length."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any, List, Sequence, Tuple

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, LayerIntegratedGradients
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mnist_handler import Answer, DeclaredParameter, InputSpec, InputValues, Request, RowHandler
from mnist_handler.compute.loading import build_model
from mnist_handler.config import ConfigError
from mnist_handler.explain.rendering import sum_blocks
from mnist_handler.explain.targets import Classes, read_targets
from mnist_handler.explain.view import explained_inputs
from mnist_handler.inputs.parameters import RequestParameters
from mnist_handler.requests import Ragged
from tests.unit.mnist_handler.conftest import MODEL, RequestProcessor, copy_archive, make_context, start
from tests.unit.mnist_handler.helpers import ask, ask_one, refusal, v1, v2

WORDS = ("[PAD]", "[UNK]", "good", "bad", "very", "film", "not")


class Encoder(torch.nn.Module):
    """Attention over embeddings, as sentence encoders have it, to two classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.words = torch.nn.Embedding(len(WORDS), 8)
        self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True)
        self.head = torch.nn.Linear(8, 2)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        rows, _ = ids.shape  # would fail of vectors in the place of ids
        states = self.layer(self.words(ids), src_key_padding_mask=mask == 0)
        weights = mask.unsqueeze(-1).to(states.dtype)
        scores: torch.Tensor = self.head((states * weights).sum(1) / weights.sum(1))
        return scores.reshape(rows, 2)


class Sentiment(RowHandler):
    ids = InputSpec("ids", "INT64", (-1,), low=0, high=6, pad=0, buckets=(4, 8), companion="mask", embedding="words")
    inputs = (InputSpec("text", "BYTES", (), becomes=ids),)

    def load(self, context: Any) -> Any:
        return Encoder().eval()

    def encode(self, spec: InputSpec, values: Sequence[Any], parameters: Any) -> List[np.ndarray[Any, Any]]:
        return [np.array([WORDS.index(one) if one in WORDS else 1 for one in text.split()]) for text in values]

    def tokens(self, spec: InputSpec, ids: np.ndarray[Any, Any]) -> List[str]:
        return [WORDS[one] for one in ids.tolist()]


@pytest.fixture(scope="module")
def sentiment(tmp_path_factory: pytest.TempPathFactory) -> RowHandler:
    folder = tmp_path_factory.mktemp("sentiment")
    (folder / "index_to_name.json").write_text('{"0": "negative", "1": "positive"}')
    return start(folder, {"max_batch_size": 4, "batch_buckets": [1, 4]}, Sentiment, weights=None)


def by_captum(text: str, target: int, steps: int = 15) -> List[float]:
    model = Encoder().eval()
    ids = torch.tensor([[WORDS.index(one) if one in WORDS else 1 for one in text.split()]])
    method = LayerIntegratedGradients(model, model.words)
    mask = torch.ones_like(ids)
    made: torch.Tensor = method.attribute(
        ids, torch.zeros_like(ids), target=target, additional_forward_args=(mask,), n_steps=steps
    )
    return list(made.sum(-1)[0].tolist())


def ragged(answer: Answer, name: str) -> List[Any]:
    output = answer.outputs[name]
    assert isinstance(output, Ragged)
    return output.by_row()


def test_text_is_explained_as_by_captums_layer_integrated_gradients(sentiment: RowHandler) -> None:
    texts = ["very good film", "bad", "not a good film"]
    answer = ask_one(sentiment, v1(*texts, explain=True, target="positive"))
    assert ragged(answer, "tokens") == [["very", "good", "film"], ["bad"], ["not", "[UNK]", "good", "film"]]
    for text, row in zip(texts, ragged(answer, "explain")):
        np.testing.assert_allclose(row, by_captum(text, 1), atol=1e-5)
    assert answer.outputs["target"] == ["positive"] * 3
    assert answer.parameters == {}


def test_attributions_of_text_sum_up_to_the_difference(sentiment: RowHandler) -> None:
    answer = ask_one(sentiment, v1("very good film", explain=True, n_steps=200, convergence_delta=True))
    assert float(np.abs(np.asarray(answer.outputs["convergence_delta"])).max()) < 2e-3
    assert refusal(sentiment, v1("good", explain=True, baselines=1)).message.startswith("unknown parameter 'baselines'")


TEXTS = st.lists(st.sampled_from(WORDS[1:]), min_size=1, max_size=8).map(" ".join)


@settings(max_examples=10)
@given(
    st.lists(st.lists(TEXTS, min_size=1, max_size=3), min_size=2, max_size=4),
    st.sampled_from(["integrated_gradients", "saliency", "input_x_gradient"]),
)
def test_texts_of_unequal_lengths_together_as_alone(requests: List[List[str]], method: str) -> None:
    handler = _text()
    together = ask(handler, *(v1(*texts, explain=True, method=method) for texts in requests))
    for texts, answer in zip(requests, together):
        alone = ask_one(handler, v1(*texts, explain=True, method=method))
        assert isinstance(answer, Answer)
        assert answer.parameters == alone.parameters
        assert ragged(answer, "tokens") == ragged(alone, "tokens") == [text.split() for text in texts]
        for one, other in zip(ragged(answer, "explain"), ragged(alone, "explain")):
            np.testing.assert_allclose(one, other, atol=1e-4)


_made: List[RowHandler] = []


def _text() -> RowHandler:
    if not _made:
        handler = Sentiment()
        handler.initialize(make_context(Path("."), {"max_batch_size": 8}, weights=None))
        _made.append(handler)
    return _made[0]


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        ({"target": "neutral"}, "row 0: target 'neutral' is not a class from 0 to 1, nor one of negative, positive"),
        ({"target": "negative,neutral"}, "row 1: target 'neutral' is not a class"),
        ({"target": 2}, "row 0: target 2 is not a class from 0 to 1"),
    ],
)
def test_an_unknown_label_names_its_row(beside: Any, words: str, sentiment: RowHandler) -> None:
    assert words in refusal(sentiment, v1("good", "bad", explain=True, **beside)).message


def test_targets_by_name_in_every_place(sentiment: RowHandler) -> None:
    def explained(request: Request) -> Any:
        return ask_one(sentiment, request).outputs["target"]

    assert explained(v1("good", "bad", explain=True, target="negative")) == ["negative"] * 2
    assert explained(v1("good", "bad", explain=True, target="negative,positive")) == ["negative", "positive"]
    assert explained(v1("good", "bad", explain=True, target="negative, 1")) == ["negative", "positive"]
    rows = [{"target": "negative"}, {"target": 1}]
    assert explained(v1("good", "bad", explain=True, beside=rows)) == ["negative", "positive"]
    inputs = [("text", InputValues(["good", "bad"])), ("target", InputValues([b"positive", b"negative"]))]
    assert explained(Request(inputs, True)) == ["positive", "negative"]


def test_a_handlers_own_parameters_reach_encode_of_an_explanation(tmp_path: Path) -> None:
    class Folded(Sentiment):
        parameters = (DeclaredParameter("fold", bool, False),)

        def encode(self, spec: InputSpec, values: Sequence[Any], parameters: Any) -> List[np.ndarray[Any, Any]]:
            return super().encode(spec, [one.lower() if parameters["fold"] else one for one in values], parameters)

    handler = start(tmp_path, {"max_batch_size": 2}, Folded, weights=None)
    for fold, word in ((True, "good"), (False, "[UNK]")):
        assert ragged(ask_one(handler, v1("GOOD", explain=True, fold=fold)), "tokens") == [[word]]
    assert "'fold'" not in refusal(handler, v1("good", explain=True, other=1)).message
    assert "parameter fold: 1 is not true or false" in refusal(handler, v1("good", explain=True, fold=1)).message


def test_names_with_commas_and_numbers_in_them() -> None:
    classes = Classes(3, ["cat, big", "1", "cat"])
    for value, wanted in (("cat, big", [0, 0]), ("1", [1, 1]), ("cat,0", [2, 0]), (1, [1, 1])):
        assert read_targets(RequestParameters({"target": value}), None, 2, classes) == wanted


def test_a_layer_that_is_not_there_ends_the_load() -> None:
    class Lost(Sentiment):
        inputs = (InputSpec("text", "BYTES", (), becomes=InputSpec("ids", "INT64", (-1,), embedding="word")),)

    with pytest.raises(ConfigError, match=r"input text: embedding: the model has no layer 'word'; it has words, layer"):
        explained_inputs(Lost.inputs, Encoder())


# --- a table of floats and integers


class Table(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.plan = torch.nn.Embedding(4, 3)
        self.body = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))

    def forward(self, plan: torch.Tensor, usage: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.body(torch.cat([usage, self.plan(plan)], dim=1))
        return scores


class Churn(RowHandler):
    inputs = (InputSpec("plan", "INT64", (), low=0, high=3), InputSpec("usage", "FP32", (3,)))

    def load(self, context: Any) -> Any:
        return Table().eval()


class Both(Churn):
    inputs = (InputSpec("plan", "INT64", (), low=0, high=3, embedding="plan"), InputSpec("usage", "FP32", (3,)))


def table(plans: List[int], usage: Any, **parameters: Any) -> Request:
    rows = [("plan", InputValues(list(plans))), ("usage", InputValues(list(usage)))]
    return Request(rows, True, parameters)


@pytest.mark.parametrize(
    "method", ["integrated_gradients", "saliency", "input_x_gradient", "deep_lift", "smooth_grad", "occlusion"]
)
def test_floats_beside_an_integer_are_explained(method: str, tmp_path: Path) -> None:
    handler = start(tmp_path, {"max_batch_size": 4}, Churn, weights=None)
    plans, usage = [0, 3, 1], [[1.0, 2.0, -1.0], [0.5, 0.0, 2.0], [3.0, -2.0, 1.0]]
    answer = ask_one(handler, table(plans, usage, method=method, target=1))
    explained = np.asarray(answer.outputs["explain"])
    assert explained.shape == (3, 3)
    assert "explain_1" not in answer.outputs
    for row in range(3):
        alone = ask_one(handler, table(plans[row : row + 1], usage[row : row + 1], method=method, target=1))
        np.testing.assert_allclose(np.asarray(alone.outputs["explain"])[0], explained[row], atol=1e-5)


def test_a_table_agrees_with_captum_and_sums_up(tmp_path: Path) -> None:
    handler = start(tmp_path, {"max_batch_size": 4}, Churn, weights=None)
    plans, usage = [0, 3], [[1.0, 2.0, -1.0], [0.5, 0.0, 2.0]]
    answer = ask_one(handler, table(plans, usage, target=1, convergence_delta=True, n_steps=100))
    model = Table().eval()
    wanted = IntegratedGradients(lambda rows, own: model(own, rows)).attribute(
        torch.tensor(usage), target=1, additional_forward_args=torch.tensor(plans), n_steps=100
    )
    np.testing.assert_allclose(answer.outputs["explain"], wanted.numpy(), atol=1e-5)
    np.testing.assert_allclose(answer.outputs["convergence_delta"], 0, atol=1e-4)


def test_an_integer_with_an_embedding_is_explained_too(tmp_path: Path) -> None:
    handler = start(tmp_path, {"max_batch_size": 4}, Both, weights=None)
    answer = ask_one(handler, table([0, 3], [[1.0, 2.0, -1.0], [0.5, 0.0, 2.0]], target=0, n_steps=100))
    plan, usage = np.asarray(answer.outputs["explain"]), np.asarray(answer.outputs["explain_1"])
    assert plan.shape == (2,)
    assert usage.shape == (2, 3)
    model = Table().eval()
    with torch.no_grad():
        full = model(torch.tensor([0, 3]), torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 2.0]]))[:, 0]
        nothing = model.body(torch.zeros(1, 6))[0, 0]
    np.testing.assert_allclose(plan + usage.sum(1), (full - nothing).numpy(), atol=1e-4)
    told = {one["name"]: one["shape"] for one in handler.describe_handle()["optional_outputs"]}
    assert (told["explain"], told["explain_1"]) == ([-1], [-1, 3])


# --- smaller forms, and layers


@pytest.fixture(scope="module")
def cam(tmp_path_factory: pytest.TempPathFactory) -> RowHandler:
    folder = copy_archive(tmp_path_factory.mktemp("cam"))
    return start(folder, {"max_batch_size": 4, "batch_buckets": [4], "explain_layer": "features.3"})


def test_grad_cam_agrees_with_captum(cam: RowHandler, digits: np.ndarray[Any, Any], model_inputs: torch.Tensor) -> None:
    model = build_model(MODEL / "mnist.py")
    model.load_state_dict(torch.load(MODEL / "mnist_cnn.pt", weights_only=True))
    layer = dict(model.eval().named_modules())["features.3"]
    rows = model_inputs[:5].clone().requires_grad_()
    maps = LayerGradCam(model, layer).attribute(rows, target=4, relu_attributions=True)
    answer = ask_one(cam, v2(digits[:5], explain=True, method="grad_cam", target=4))
    explained = np.asarray(answer.outputs["explain"])
    assert explained.shape == (5, 1, 28, 28)
    wanted = LayerAttribution.interpolate(maps, (28, 28), "bilinear").detach().numpy()
    scale = np.abs(wanted).max()
    assert scale > 0
    np.testing.assert_allclose(explained / scale, wanted / scale, atol=1e-3)


@pytest.mark.parametrize(
    ("layer", "words"),
    [("features.99", "has no layer 'features.99'; it has features, features.0"), ("classifier", "grad_cam cannot use")],
)
def test_a_layer_that_does_not_do_ends_the_load(layer: str, words: str, archive: Path) -> None:
    model = build_model(archive / "mnist.py")
    names = [name for name, _ in model.named_modules()]
    layer = names[-1] if layer == "classifier" else layer
    with pytest.raises(ConfigError, match=words):
        start(archive, {"max_batch_size": 2, "batch_buckets": [2], "explain_layer": layer})


def test_attributions_summed_cut_and_halved(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    def explained(**parameters: Any) -> np.ndarray[Any, Any]:
        return np.asarray(ask_one(handler, v2(digits[:2], explain=True, target=3, **parameters)).outputs["explain"])

    whole = explained()
    summed = explained(sum_channels=True)
    np.testing.assert_array_equal(summed, whole[:, 0])
    blocks = explained(sum_channels=True, downsample=5)
    assert blocks.shape == (2, 6, 6)
    np.testing.assert_allclose(blocks.sum((1, 2)), whole.sum((1, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(blocks[0, 0, 1], whole[0, 0, :5, 5:10].sum(), rtol=1e-4)
    half = explained(datatype="FP16")
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, whole, atol=2e-3)


def test_a_heat_map_as_a_picture(cam: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    rows = v2(digits[:2], explain=True, target=3, format="png")
    pictures = ask_one(cam, rows).outputs["explain"]
    assert isinstance(pictures, list)
    values = np.asarray(ask_one(cam, v2(digits[:2], explain=True, target=3)).outputs["explain"])[:, 0]
    for text, row in zip(pictures, values):
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"), np.int32)
        assert shown.shape == (28, 28, 3)
        strongest, weakest = (np.unravel_index(one, row.shape) for one in (row.argmax(), row.argmin()))
        assert shown[strongest][0] > shown[strongest][2]  # red
        assert shown[weakest][2] > shown[weakest][0]  # blue
    small = ask_one(cam, v2(digits[:1], explain=True, target=3, format="png", downsample=4)).outputs["explain"]
    assert Image.open(io.BytesIO(base64.b64decode(small[0]))).size == (7, 7)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"format": "jpeg"}, "parameter format: 'jpeg' is not one of numbers, png"),
        ({"datatype": "INT8"}, "parameter datatype: 'INT8' is not one of FP32, FP16"),
        ({"downsample": 0}, "parameter downsample: 0 is not a whole number from 1 to 1024"),
        ({"downsample": True}, "parameter downsample: True"),
        ({"sum_channels": 1}, "parameter sum_channels: 1 is not true or false"),
        ({"format": "png", "datatype": "FP16"}, "format png has no datatype"),
        ({"method": "grad_cam"}, "parameter method: 'grad_cam' is not one of"),
    ],
)
def test_wrong_forms_are_refused(
    parameters: Any, words: str, handler: RowHandler, digits: np.ndarray[Any, Any]
) -> None:
    assert words in refusal(handler, v2(digits[0], explain=True, **parameters)).message


def test_forms_that_need_an_image_are_refused_of_text(sentiment: RowHandler) -> None:
    for parameters in ({"format": "png"}, {"downsample": 2}, {"sum_channels": True}):
        assert "which this model does not take" in refusal(sentiment, v1("good", explain=True, **parameters)).message
    half = ask_one(sentiment, v1("good", explain=True, datatype="FP16")).outputs["explain"]
    assert isinstance(half, Ragged)
    assert half.values.dtype == np.float16


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12))
def test_blocks_keep_the_sum(height: int, width: int, block: int) -> None:
    values = np.random.default_rng(height * 10 + width).standard_normal((2, height, width))
    summed = sum_blocks(values, block)
    assert summed.shape == (2, -(-height // block), -(-width // block))
    np.testing.assert_allclose(summed.sum((1, 2)), values.sum((1, 2)), atol=1e-9)


def over_the_wire(handler: RowHandler, document: Any) -> Any:
    context = make_context(Path("."))
    context.request_processor = [RequestProcessor({"explain": "True"})]
    (body,) = handler.handle([{"body": document}], context)
    return json.loads(body)


def test_what_clients_of_either_protocol_get(sentiment: RowHandler, cam: RowHandler, digits: Any) -> None:
    (row,) = over_the_wire(sentiment, {"instances": ["good film"]})["explanations"]
    assert (row["tokens"], row["target"]) == (["good", "film"], row["target"])
    assert len(row["explain"]) == 2
    tensors = [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["good film", "bad"]}]
    outputs = {one["name"]: one for one in over_the_wire(sentiment, {"inputs": tensors})["outputs"]}
    assert outputs["tokens"]["data"] == ["good", "film", "bad", ""]
    assert outputs["explain"]["shape"] == [2, 2]
    assert outputs["explain_length"]["data"] == [2, 1]
    rows: Tuple[Any, ...] = (digits[0].tolist(),)
    told = over_the_wire(cam, {"instances": [{"data": row} for row in rows], "parameters": {"format": "png"}})
    assert base64.b64decode(told["explanations"][0]).startswith(b"\x89PNG")
    assert told["parameters"] == {"targets": str(ask_one(cam, v2(digits[0])).outputs["predict"][0])}
