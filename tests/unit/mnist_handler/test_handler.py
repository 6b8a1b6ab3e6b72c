from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any, Dict, List, Tuple, Union

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ts.context import RequestProcessor
from ts.utils.util import list_classes_from_module

import mnist_handler
from mnist_handler import Answer, InputValues, Request, RequestError, RowHandler
from mnist_handler.envelopes.v1 import parse as parse_v1
from tests.unit.mnist_handler.conftest import start
from tests.unit.mnist_handler.helpers import ask, ask_one, b64, labels, png, refusal, v1, v2

_shared: Tuple[Any, Any] = (None, None)


@pytest.fixture(autouse=True)
def _share(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    """Hypothesis and function fixtures do not go together."""
    global _shared
    _shared = (handler, digits)


def test_torchserve_finds_one_class() -> None:
    assert list_classes_from_module(mnist_handler) == [mnist_handler.MNISTDigitClassifier]
    assert not hasattr(mnist_handler, "handle")


def test_every_form_of_an_image_gives_the_same(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    some = digits[:10]
    floats = some.astype(np.float32) / 255
    normalized = (floats - 0.1307) / 0.3081
    encoded = [png(one) for one in some]
    requests = [
        v2(some),
        v2(some[:, 0]),
        v2(floats),
        v2(floats.astype(np.float64)),
        v2(some.astype(np.int64)),
        v2(normalized, normalized=True),
        v2(encoded),
        v2([b64(one).encode() for one in encoded]),
        v2(np.array(encoded, dtype=object)),
        v2(np.array(encoded, dtype=object)[:, None]),
        v1(*(b64(one) for one in encoded)),
        v1(*some.tolist()),
        v1(*floats.tolist()),
        v1(*(one[0].tolist() for one in some)),
        v1(*normalized.tolist(), normalized=True),
        v1(*normalized.tolist(), beside=[{"normalized": True}] * 10),
        Request([("a", InputValues(some[:4])), ("b", InputValues([encoded[4]])), ("a", InputValues(some[5:]))]),
        Request([("x", InputValues(normalized, {"normalized": True}))]),
    ]
    answers = ask(handler, *(Request(r.inputs, r.explain, {**r.parameters, "probabilities": True}) for r in requests))
    first = answers[0]
    assert isinstance(first, Answer)
    for number, answer in enumerate(answers):
        assert isinstance(answer, Answer), (number, answer)
        assert np.array_equal(answer.outputs["predict"], first.outputs["predict"]), number
        np.testing.assert_allclose(answer.outputs["probabilities"], first.outputs["probabilities"], atol=1e-4)


def test_the_committed_model_is_right(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    from tests.unit.mnist_handler.conftest import SAMPLE

    with np.load(SAMPLE) as sample:
        truth = np.asarray(sample["labels"])
    predicted = np.asarray(ask_one(handler, v2(digits)).outputs["predict"])
    assert predicted.dtype == np.int64
    assert (predicted == truth).mean() > 0.98


#: What a client may send, and whether it is good.
KINDS = ["png", "b64", "list", "uint8", "float", "mixed", "bad_image", "bad_list", "bad_float", "bad_mixed"]


def make(kind: str, rows: List[int], explain: bool, digits: np.ndarray[Any, Any]) -> Tuple[Request, List[int]]:
    """A request for some digits, and which of its rows are at fault."""
    pixels = [digits[row] for row in rows]
    forms: Dict[str, List[Any]] = {
        "png": [png(one) for one in pixels],
        "b64": [b64(png(one)) for one in pixels],
        "list": [one.tolist() for one in pixels],
    }
    forms["mixed"] = [forms[random.Random(row).choice(["png", "b64", "list"])][at] for at, row in enumerate(rows)]
    bad = [len(rows) - 1]
    if kind in forms:
        return v1(*forms[kind], explain=explain), []
    if kind == "uint8":
        return v2(np.stack(pixels), explain), []
    array = np.stack(pixels).astype(np.float32) / 255
    if kind == "float":
        return v2(array, explain), []
    if kind == "bad_float":
        array[-1, 0, 3, 3] = 2
        return v2(array, explain), bad
    poison: Any = {"bad_image": b"\x89PNG\r\n\x1a\n broken", "bad_list": [[1, 2], [3]], "bad_mixed": "@@@@"}[kind]
    return v1(*forms["mixed"][:-1], poison, explain=explain), bad


one_request = st.tuples(
    st.sampled_from(KINDS),
    st.lists(st.integers(0, 40), min_size=1, max_size=5),
    st.sampled_from(["predict", "explain", "explain class 3"]),
)


@settings(max_examples=40)
@given(st.lists(one_request, min_size=1, max_size=10))
def test_every_request_gets_its_own_rows(asked: List[Tuple[str, List[int], str]]) -> None:
    handler, digits = _shared
    truth = np.asarray(ask_one(handler, v2(digits[:41])).outputs["predict"])
    by_class = np.asarray(ask_one(handler, v2(digits[:41], explain=True, target=3)).outputs["explain"])
    made = [make(kind, rows, verb != "predict", digits) for kind, rows, verb in asked]
    requests = [
        dataclasses.replace(request, parameters={"target": 3}) if verb == "explain class 3" else request
        for (_, _, verb), (request, _) in zip(asked, made)
    ]
    answers: List[Union[Answer, RequestError]] = ask(handler, *requests)
    for (_, rows, verb), (_, bad), answer in zip(asked, made, answers):
        if bad:
            assert isinstance(answer, RequestError)
            assert answer.status == 400
            assert list(answer.rows) == bad
            assert answer.message.startswith(f"row {bad[0]}: ")
        elif verb == "predict":
            assert labels(answer) == [truth[row] for row in rows]
        elif verb == "explain":
            assert isinstance(answer, Answer)
            assert np.asarray(answer.outputs["explain"]).shape == (len(rows), 1, 28, 28)
            assert answer.parameters == {"targets": ",".join(str(truth[row]) for row in rows)}
        else:
            assert isinstance(answer, Answer)
            assert answer.parameters == {}
            np.testing.assert_allclose(answer.outputs["explain"], by_class[rows], rtol=1e-3, atol=1e-4)


def test_all_rows_at_fault_are_named(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    error = refusal(handler, v1("@@", b64(png(digits[0])), [[1, 2], [3]], b"GIF89a", 5, [[float("nan")] * 28] * 28))
    assert sorted(error.rows) == [0, 2, 3, 4, 5]
    assert error.rows[0] == "not an image: neither an image nor base64 text"
    assert error.rows[2] == "nested lists of unequal lengths"
    assert error.rows[4] == "int is neither an image nor nested lists of its pixels"
    assert error.rows[5] == "NaN or infinity among the values"
    assert error.message.endswith("and 2 more rows")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (v2(np.zeros((1, 3, 28, 28), np.float32)), "input input-0: shape [1, 3, 28, 28] is not [1, 28, 28] or"),
        (v2(np.zeros((1, 1, 28, 28), bool)), "datatype BOOL is not that of an image"),
        (v2(np.zeros((0, 1, 28, 28), np.float32)), "no rows"),
        (v2(np.full((2, 1, 28, 28), 128, np.float32)), "row 0: values from 128 to 128 are not 0..1; send UINT8"),
        (Request([]), "no rows"),
        (v2(np.zeros((1, 28, 28)), probabilities=1), "parameter probabilities: 1 is not true or false"),
        (v2(np.zeros((1, 28, 28)), top_k=11), "parameter top_k: 11 is not a whole number from 1 to 10"),
        (v2(np.zeros((1, 28, 28)), topk=1), "unknown parameter 'topk'"),
        (v1("x", beside=[{"tagret": 1}]), "row 0: unknown parameter 'tagret'"),
        (v1("x", "x", beside=[{}, {"top_k": 1}]), "row 1: top_k counts for all rows: put top_k under the request's"),
        (v1("x", explain=True, beside=[{"method": "saliency"}]), "row 0: method counts for all rows"),
        (v2(np.zeros((1, 28, 28)), normalized="yes"), "parameter normalized: 'yes' is not true or false"),
        (Request([("x", InputValues(np.zeros((1, 28, 28))))], outputs=["explain"]), "no output 'explain'"),
    ],
)
def test_what_is_wrong_is_said(request_: Request, words: str, handler: RowHandler) -> None:
    assert words in refusal(handler, request_).message


def test_probabilities_and_top_k(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    outputs = ask_one(handler, v2(digits[:3], probabilities=True, top_k=3)).outputs
    assert list(outputs) == ["predict", "probabilities", "top_k_classes", "top_k_probabilities"]
    probabilities = np.asarray(outputs["probabilities"])
    assert probabilities.shape == (3, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    best = np.argsort(-probabilities, axis=1)[:, :3]
    assert np.array_equal(outputs["top_k_classes"], best)
    np.testing.assert_allclose(outputs["top_k_probabilities"], np.take_along_axis(probabilities, best, 1))
    assert np.array_equal(best[:, 0], outputs["predict"])


def test_outputs_by_name(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    request = Request([("x", InputValues(digits[:2]))], outputs=["probabilities", "predict"])
    assert list(ask_one(handler, request).outputs) == ["probabilities", "predict"]


@pytest.mark.parametrize("place", [{"top_k": 2}, {"parameters": {"top_k": 2}}])
def test_options_beside_the_rows_count(
    place: Dict[str, Any], handler: RowHandler, digits: np.ndarray[Any, Any]
) -> None:
    _, request = parse_v1({"instances": [b64(png(digits[0]))], **place}, False)
    assert "top_k_classes" in ask_one(handler, request).outputs
    _, request = parse_v1({"instances": [b64(png(digits[0]))], "topk": 2}, False)
    assert "unknown parameter 'topk'; known are normalized," in refusal(handler, request).message
    _, request = parse_v1({"instances": [{"data": "x"}, {"data": "x", "topk": 2}]}, False)
    assert list(refusal(handler, request).rows) == [1]


def test_labels_are_honoured(labelled: RowHandler, handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    plain = labels(ask_one(handler, v2(digits[:5])))
    answer = ask_one(labelled, v2(digits[:5], top_k=2))
    assert answer.outputs["predict"] == [f"digit {one}" for one in plain]
    assert [row[0] for row in answer.outputs["top_k_classes"]] == answer.outputs["predict"]
    assert labelled.describe_handle()["outputs"] == [{"name": "predict", "datatype": "BYTES", "shape": [-1]}]


def test_rows_beyond_memory_fail_alone(archive: Path, digits: np.ndarray[Any, Any]) -> None:
    """Blank rows stand for those that do not fit, in a batch that does not fit either."""
    handler = start(archive, {"max_batch_size": 8, "batch_buckets": [8], "compile": "none"})
    real = handler.model

    def device(rows: torch.Tensor) -> torch.Tensor:
        if (rows[:, 0, 0, 0] > 2.8).any() or len(rows) > 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        scores: torch.Tensor = real(rows)
        return scores

    handler._engine._forwards, handler._engine._fastest, handler._engine._sizes = [device], {}, []
    blank = np.full((1, 28, 28), 255, np.uint8)
    requests = [v2(digits[:3]), v2(np.stack([digits[0], blank])), v2(digits[3:9]), v2(blank, explain=True)]
    good, bad, also, explained = ask(handler, *requests)
    assert len(labels(good)) == 3
    assert len(labels(also)) == 6
    assert isinstance(bad, RequestError)
    assert (bad.status, list(bad.rows)) == (507, [1])
    assert isinstance(explained, RequestError)
    assert (explained.status, list(explained.rows)) == (507, [0])


def test_a_bug_of_the_model_is_raised(archive: Path, digits: np.ndarray[Any, Any]) -> None:
    handler = start(archive, {"max_batch_size": 1, "compile": "none"})
    handler._engine._fastest.clear()
    handler._engine._forwards = [lambda rows: 1 / 0]
    with pytest.raises(ZeroDivisionError):
        ask(handler, v2(digits[:1]))


@pytest.mark.parametrize("stage", ["preprocess", "inference", "postprocess"])
def test_out_of_memory_is_a_507_wherever_it_strikes(
    stage: str, archive: Path, digits: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = start(archive, {"max_batch_size": 1, "compile": "none"})

    def full(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(handler, stage, full)
    context = handler.context
    context.request_processor = [RequestProcessor({})]
    handler.handle([{"body": {"instances": [b64(png(digits[0]))]}}], context)
    assert context.get_response_status(0)[0] == 507


@pytest.mark.parametrize("lost", [True, False])
def test_a_worker_whose_device_is_lost_ends(
    lost: bool,
    archive: Path,
    digits: np.ndarray[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No CUDA here: the handler is told that its device is one, and what stands for it fails, or does not."""
    handler = start(archive, {"max_batch_size": 1, "compile": "none"})
    waited: List[torch.device] = []

    def synchronize(device: torch.device) -> None:
        waited.append(device)
        if lost:
            raise RuntimeError("CUDA error: device-side assert triggered")

    def broken(*_: Any) -> Any:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(handler, "device", torch.device("cuda", 0))
    monkeypatch.setattr(handler, "preprocess", broken)
    monkeypatch.setattr("torch.cuda.synchronize", synchronize)
    context = handler.context
    context.request_processor = [RequestProcessor({})]
    bodies = [{"body": {"instances": [b64(png(digits[0]))]}}]
    if lost:
        with pytest.raises(SystemExit) as ended:
            handler.handle(bodies, context)
        assert ended.value.code == 1
        assert [one.message for one in caplog.records if one.levelname == "CRITICAL"] == [
            "the CUDA context is lost; this worker ends"
        ]
    else:
        handler.handle(bodies, context)
        assert context.get_response_status(0)[0] == 500
    assert waited == [torch.device("cuda", 0)]


@pytest.mark.parametrize("config", [{"precision": "bf16"}, {"compile": "none"}, {"intra_op_threads": 2}])
def test_settings_change_no_answer(
    config: Dict[str, Any], archive: Path, handler: RowHandler, digits: np.ndarray[Any, Any]
) -> None:
    other = start(archive, {"max_batch_size": 8, "batch_buckets": [8], **config})
    wanted = ask_one(handler, v2(digits[:40], probabilities=True)).outputs
    outputs = ask_one(other, v2(digits[:40], probabilities=True)).outputs
    assert np.array_equal(outputs["predict"], wanted["predict"])
    np.testing.assert_allclose(outputs["probabilities"], wanted["probabilities"], atol=0.05)


def test_the_pixel_limit_follows_torchserve(archive: Path) -> None:
    wide = png(np.zeros((1, 40, 40), np.uint8))
    config = {"max_batch_size": 1, "max_image_pixels": 1000}
    assert (
        refusal(start(archive, config), v2([wide])).message
        == "row 0: not an image: 40 x 40 pixels are more than the 1000 that max_image_pixels allows"
    )
    assert len(labels(ask_one(start(archive, config, limit_pixels=False), v2([wide])))) == 1


def test_describe(handler: RowHandler) -> None:
    context = handler.context
    context.request_processor = [RequestProcessor({"describe": "True"})]
    (metadata,) = handler.handle([{}], context)
    assert metadata["name"] == "mnist"
    assert metadata["versions"] == ["1.0"]
    assert metadata["platform"] == "pytorch_eager"
    assert metadata["inputs"] == [{"name": "input-0", "datatype": "FP32", "shape": [-1, 1, 28, 28]}]
    assert metadata["outputs"] == [{"name": "predict", "datatype": "INT64", "shape": [-1]}]
    assert metadata["extensions"] == ["binary_tensor_data", "raw_body", "row_errors", "independent_rows"]


def test_a_clients_own_describe_header_changes_nothing(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    context = handler.context
    context.request_processor = [RequestProcessor({"describe": "True"}), RequestProcessor({})]
    body = {"instances": [b64(png(digits[0]))]}
    own = int(labels(ask_one(handler, v2(digits[0])))[0])
    for bodies in ([{"body": body}], [{"body": body}] * 2):
        assert handler.handle(bodies, context) == [b'{"predictions":[%d]}' % own] * len(bodies)


def test_a_failing_request_fails_alone(archive: Path, digits: np.ndarray[Any, Any]) -> None:
    handler = start(archive, {"max_batch_size": 8, "compile": "none"})
    real = handler.model
    calls: List[int] = []

    def fragile(rows: torch.Tensor) -> torch.Tensor:
        calls.append(len(rows))
        if (rows[:, 0, 0, 0] > 2.8).any():
            raise IndexError("index out of range in self")
        scores: torch.Tensor = real(rows)
        return scores

    handler._engine._forwards, handler._engine._fastest, handler._engine._sizes = [fragile], {}, []
    blank = np.full((1, 28, 28), 255, np.uint8)
    bodies = [{"body": {"instances": [b64(png(one))]}} for one in (digits[0], blank, digits[1])]
    context = handler.context
    context.request_processor = [RequestProcessor({}) for _ in bodies]
    answers = handler.handle(bodies, context)
    assert [context.get_response_status(idx)[0] for idx in range(3)] == [200, 500, 200]
    assert [answers[0], answers[2]] == [
        b'{"predictions":[%d]}' % one for one in labels(ask_one(handler, v2(digits[:2])))
    ]
    assert calls[:4] == [3, 1, 1, 1]


def test_the_wire(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    context = handler.context
    context.request_processor = [RequestProcessor({}), RequestProcessor({"explain": "True"}), RequestProcessor({})]
    image = b64(png(digits[0]))
    bodies = [{"instances": [{"data": image}]}, {"instances": [{"data": image, "target": 0}]}, {"instances": ["@@"]}]
    bodies_out = handler.handle([{"body": body} for body in bodies], context)
    own = int(labels(ask_one(handler, v2(digits[0])))[0])
    assert bodies_out[0] == b'{"predictions":[%d]}' % own
    assert bodies_out[1].startswith(b'{"explanations":[[[[')
    assert [context.get_response_status(idx)[0] for idx in range(3)] == [200, 200, 400]


def test_metrics_add_up(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    handler.context.metrics.seen.clear()
    ask(handler, v2(digits[:3]), v2(digits[:2], explain=True), v1("@@"))
    seen = handler.context.metrics.seen
    counts = {name: seen[name] for name in seen if not name.endswith("Time")}
    assert counts == {"HandlerBatches": 1, "HandlerRequests": 3, "HandlerRows": 5, "HandlerFailedRequests": 1}
    assert all(seen[f"Handler{stage}Time"] >= 0 for stage in ("Decode", "Preprocess", "Inference", "Explain"))
