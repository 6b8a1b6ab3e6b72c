"""What TorchServe promises of its handlers, held against ours.

TorchServe calls ``handle(data, context)`` with a dict a client, and takes a list with an answer each, in order; its
envelopes wrap that method; request headers ask for explanations or a description; a subclass overrides ``inference``
and ``postprocess``. Stated here in our words, of the digits, of a plain model and of a classifier with names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import pytest
import torch
from ts.torch_handler.base_handler import BaseHandler

from mnist_handler import ImageClassifier, InputSpec, MNISTDigitClassifier, RowHandler
from mnist_handler.envelopes.front_door import BatchEnvelope
from tests.unit.mnist_handler.conftest import RequestProcessor, copy_archive, make_context, start
from tests.unit.mnist_handler.helpers import png


@pytest.fixture(scope="module")
def normalized(tmp_path_factory: pytest.TempPathFactory) -> RowHandler:
    """Tensors come as TorchServe's own transforms make them, which a setting says."""
    folder = copy_archive(tmp_path_factory.mktemp("contract"))
    return start(folder, {"max_batch_size": 4, "batch_buckets": [1, 4], "tensors": "normalized"})


def asked(handler: RowHandler, rows: Sequence[Any], headers: Optional[Dict[str, str]] = None, entry: Any = None) -> Any:
    """What ``entry`` (``handle`` where left out) answers to a batch of clients with these headers each."""
    context = make_context(Path("."))
    context.request_processor = [RequestProcessor(dict(headers or {})) for _ in rows]
    return (entry or handler.handle)(list(rows), context)


def values(answers: List[Any]) -> List[Any]:
    """Answers as clients read them: JSON where it is some, else text."""
    return [_value(one) if isinstance(one, (bytes, str)) else one for one in answers]


def _value(answer: Any) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        return answer if isinstance(answer, str) else answer.decode()


def as_torchvision_makes_it(digit: np.ndarray[Any, Any]) -> Any:
    """ToTensor and Normalize, as nested lists [1, 28, 28]."""
    return ((digit.astype(np.float32) / 255 - 0.1307) / 0.3081).tolist()


# --- handle


@pytest.mark.parametrize("field", ["data", "body"])
def test_an_answer_for_each_client_in_order(field: str, handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    pictures = [png(digit) for digit in digits[:5]]
    alone = [values(asked(handler, [{field: picture}]))[0] for picture in pictures]
    together = values(asked(handler, [{field: picture} for picture in pictures]))
    assert together == alone
    assert all(answer in range(10) for answer in together)


def test_answers_are_a_list_that_torchserve_can_send(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    answers = asked(handler, [{"data": png(digits[0])}, {"body": bytearray(png(digits[1]))}])
    assert isinstance(answers, list)
    assert all(isinstance(one, (str, bytes, bytearray, int, list, dict)) for one in answers)


def test_a_client_at_fault_leaves_the_number_of_answers(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    answers = values(asked(handler, [{"data": png(digits[0])}, {"data": b"no picture"}, {"data": png(digits[2])}]))
    assert len(answers) == 3
    assert answers[0] in range(10)
    assert "not an image" in answers[1]["error"]
    assert answers[2] in range(10)


def test_it_is_one_of_torchserves_handlers(handler: RowHandler) -> None:
    assert isinstance(handler, BaseHandler)
    assert handler.initialized is True
    assert handler.get_device() == handler.device
    assert isinstance(handler.model, torch.nn.Module)
    assert not handler.model.training
    assert handler.manifest["model"]["modelName"] == "mnist"


def test_the_profilers_variable_breaks_nothing(
    handler: RowHandler, digits: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENABLE_TORCH_PROFILER", "1")
    assert values(asked(handler, [{"data": png(digits[0])}]))[0] in range(10)


# --- envelopes: TorchServe makes one around ``handle``; its worker finds this class under each of its names


def test_the_v1_envelope_around_handle(normalized: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    rows = [{"data": as_torchvision_makes_it(digit)} for digit in digits[:3]]
    wanted = [values(asked(normalized, [{"data": png(digit)}]))[0] for digit in digits[:3]]
    envelope = BatchEnvelope(normalized.handle)
    (answer,) = values(asked(normalized, [{"body": {"instances": rows}}], entry=envelope.handle))
    assert answer == {"predictions": wanted}


def test_the_v2_envelope_around_handle(normalized: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    inputs = [
        {
            "name": "anything",
            "datatype": "FP32",
            "shape": [1, 28, 28],
            "data": np.ravel(as_torchvision_makes_it(digits[0])).tolist(),
        }
    ]
    envelope = BatchEnvelope(normalized.handle)
    body = {"id": "of mine", "inputs": inputs}
    (answer,) = values(asked(normalized, [{"body": body}], entry=envelope.handle))
    assert answer["id"] == "of mine"
    (output,) = answer["outputs"]
    assert output["name"] == "predict"
    assert output["data"] == [values(asked(normalized, [{"data": png(digits[0])}]))[0]]


# --- explanations and descriptions, by request headers


def test_explanations_of_every_client(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    """TorchServe's own takes the target of the first client for all; here each has its own."""
    clients = [{"data": png(digits[0]), "target": b"0"}, {"data": png(digits[0]), "target": b"3"}]
    first, second = values(asked(handler, clients, {"explain": "True"}))
    shapes = [np.shape(one) for one in (first, second)]
    assert shapes == [(1, 28, 28)] * 2
    assert not np.allclose(first, second)


def test_the_v1_envelope_explains(normalized: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    rows = [{"data": as_torchvision_makes_it(digits[0]), "target": 0}]
    envelope = BatchEnvelope(normalized.handle)
    (answer,) = values(asked(normalized, [{"body": {"instances": rows}}], {"explain": "True"}, envelope.handle))
    assert np.shape(answer["explanations"]) == (1, 1, 28, 28)
    assert np.abs(answer["explanations"]).max() > 0


def test_a_description_is_asked_for_by_a_header(handler: RowHandler) -> None:
    (answer,) = asked(handler, [{}], {"describe": "True"})
    assert answer == handler.describe_handle()
    assert answer["name"] == "mnist"


# --- the hooks of a subclass


class Larger(torch.nn.Module):
    """Scores are the values themselves, so the class is the place of the greatest."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows * 1.0


class Plain(RowHandler):
    inputs = (InputSpec("values", "FP32", (2,)),)

    def load(self, context: Any) -> Any:
        return Larger().eval()


def test_numbers_alone_and_in_company(tmp_path: Path) -> None:
    handler = start(tmp_path, {"max_batch_size": 4}, Plain, weights=None)
    assert values(asked(handler, [{"data": [1.0, 2.0]}])) == [1]
    assert values(asked(handler, [{"data": [1.0, 2.0]}, {"data": [4.0, 3.0]}])) == [1, 0]


def test_inference_gets_a_tensor_of_the_batch_and_postprocess_a_list_back(tmp_path: Path) -> None:
    seen: List[Any] = []

    class Own(Plain):
        def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append((type(data), tuple(data.shape), torch.is_inference_mode_enabled()))
            return self.model(data.to(self.device), *args, **kwargs)

        def postprocess(self, data: Any) -> Any:
            return data.sum(1).tolist()

    handler = start(tmp_path, {"max_batch_size": 4}, Own, weights=None)
    seen.clear()
    assert values(asked(handler, [{"data": [1.0, 2.0]}, {"data": [4.0, 3.0]}])) == [3.0, 7.0]
    assert seen == [(torch.Tensor, (2, 2), True)]


@pytest.mark.parametrize("name", ["preprocess", "handle", "explain_handle", "get_insights"])
def test_what_is_not_called_as_torchserve_does_ends_the_load_by_its_name(name: str, tmp_path: Path) -> None:
    kind = type("Own", (Plain,), {name: lambda self, *given: None, "__module__": "theirs"})
    with pytest.raises(TypeError, match=f"Own overrides {name}"):
        start(tmp_path, {"max_batch_size": 2}, kind, weights=None)


# --- a classifier of images whose classes have names


def test_names_in_the_place_of_numbers(labelled: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    assert isinstance(labelled, ImageClassifier)
    assert isinstance(labelled, MNISTDigitClassifier)
    answers = values(asked(labelled, [{"data": png(digits[0])}] * 2))
    assert len(answers) == 2
    assert answers[0] == answers[1]
    assert answers[0].startswith("digit ")
    explained = values(asked(labelled, [{"data": png(digits[0]), "target": b"digit 7"}] * 2, {"explain": "True"}))
    assert [np.shape(one) for one in explained] == [(1, 28, 28)] * 2
