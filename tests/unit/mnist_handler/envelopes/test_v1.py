"""V1: instances of every form become rows, and answers go back one entry a row."""

from __future__ import annotations

import base64
import json
from typing import Any, Dict, List

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_handler.envelopes import v1
from mnist_handler.envelopes.worker_context import Model
from mnist_handler.requests import Answer, RequestError

MODEL = Model("mnist", "1.0")


def b64(data: bytes) -> Dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


@pytest.mark.parametrize(
    ("instance", "value", "parameters"),
    [
        ({"data": "text"}, "text", {}),
        ({"data": "", "target": 0}, "", {"target": 0}),
        ({"data": 0}, 0, {}),
        ({"data": None}, None, {}),
        ({"body": [[1, 2]], "target": 3, "method": "saliency"}, [[1, 2]], {"target": 3, "method": "saliency"}),
        (b64(b"\x89PNG"), b"\x89PNG", {}),
        ({**b64(b""), "target": 1}, b"", {"target": 1}),
        ({"data": b64(b"x")}, b"x", {}),
        ({"image_bytes": b64(b"x"), "target": 2}, b"x", {"target": 2}),
        ({"data": [b64(b"x"), [b64(b"y")]]}, [b"x", [b"y"]], {}),
        ({"data": [1, "x", [2, b64(b"y")]]}, [1, "x", [2, b"y"]], {}),
        ({"data": {"b64": "eA==", "other": 1}}, {"b64": "eA==", "other": 1}, {}),
        ({"data": "x", "parameters": {"target": 1, "n_steps": 5}}, "x", {"target": 1, "n_steps": 5}),
        ({"data": "x", "target": 2, "parameters": {"target": 1}}, "x", {"target": 2}),
        ("eA==", "eA==", {}),
        (0, 0, {}),
        ([[0.5, 1]], [[0.5, 1]], {}),
        (None, None, {}),
        ([], [], {}),
    ],
)
def test_instances_of_one_input(instance: Any, value: Any, parameters: Any) -> None:
    for key in ("instances", "inputs"):
        form, request = v1.parse({key: [instance], "parameters": {"top_k": 3}}, True)
        ((name, block),) = request.inputs
        assert (name, block.values, block.row_parameters) == ("data", [value], [parameters] if parameters else [])
        assert (form, request.explain, request.parameters, request.outputs) == (
            v1.V1Writer(1, True),
            True,
            {"top_k": 3},
            None,
        )


def test_what_stands_beside_the_rows_is_a_parameter() -> None:
    document = {"instances": [1], "signature_name": "x", "top_k": 2, "parameters": {"probabilities": True}}
    _, request = v1.parse(document, False)
    assert request.parameters == {"top_k": 2, "probabilities": True}
    assert request.by_row


def test_instances_of_several_inputs() -> None:
    rows: List[Any] = [{"image": b64(b"x"), "size": 1, "target": 4}, {"size": 2, "image": "y"}]
    _, request = v1.parse({"instances": rows}, False)
    assert [(name, block.values) for name, block in request.inputs] == [("image", [b"x", "y"]), ("size", [1, 2])]
    assert all(block.row_parameters == [{"target": 4}, {}] for _, block in request.inputs)


@pytest.mark.parametrize(
    ("instances", "faults"),
    [
        (["x", {"b64": "%"}, "y"], {1: "base64"}),
        ([{"data": b64(b"x")}, {"data": {"b64": "ä"}}, {"b64": 3}], {1: "base64", 2: "text"}),
        ([{"data": 1, "body": 2}], {0: '"data", "body"'}),
        ([{"target": 1}, {}, 3], {0: "no data", 1: "no data"}),
        ([{"a": 1}, {"b": 1}, {"a": 1, "b": 1}], {1: '"b"', 2: '"a", "b"'}),
        ([{"a": 1}, 1], {1: '"data"'}),
        ([{"data": 1, "parameters": 3}], {0: "object"}),
    ],
)
def test_faults_name_their_rows(instances: Any, faults: Dict[int, str]) -> None:
    with pytest.raises(RequestError) as caught:
        v1.parse({"instances": instances}, False)
    assert caught.value.status == 400
    assert caught.value.rows.keys() == faults.keys()
    assert all(text in caught.value.rows[row] for row, text in faults.items())
    assert caught.value.message.startswith(f"row {min(faults)}: ")


@pytest.mark.parametrize(
    "document",
    [
        {"instances": []},
        {"instances": {}},
        {"instances": None},
        {"inputs": "x"},
        {"instances": [1], "parameters": 3},
        {"instances": [1], "inputs": [1]},
        {"instances": [1], "top_k": 2, "parameters": {"top_k": 2}},
    ],
)
def test_refused_documents(document: Any) -> None:
    with pytest.raises(RequestError) as caught:
        v1.parse(document, False)
    assert (caught.value.status, caught.value.rows) == (400, {})


@given(st.binary(max_size=60), st.integers(0, 60))
def test_base64_round_trip_with_white_space(data: bytes, cut: int) -> None:
    text = base64.b64encode(data).decode()
    assert v1.read_base64(text) == v1.read_base64(text[:cut] + "\r\n " + text[cut:]) == data


@pytest.mark.parametrize(
    ("outputs", "entries"),
    [
        ({"predict": [2, 0]}, [2, 0]),
        ({"predict": ["two", {"nine": 0.5}]}, ["two", {"nine": 0.5}]),
        ({"predict": np.array([[1, 2], [3, 4]], np.uint8)}, [[1, 2], [3, 4]]),
        ({"predict": np.array([0.5, np.inf], "f2")}, [0.5, "Infinity"]),
        ({"predict": [b"\xff", b""]}, [{"b64": "/w=="}, {"b64": ""}]),
        (
            {"predict": [2, 0], "p": np.array([[0.5], [1]], "f4")},
            [{"predict": 2, "p": [0.5]}, {"predict": 0, "p": [1.0]}],
        ),
    ],
)
def test_one_entry_a_row(outputs: Any, entries: Any) -> None:
    for explain, key in ((False, "predictions"), (True, "explanations")):
        reply = v1.V1Writer(2, explain).reply(Answer(outputs), MODEL)
        assert json.loads(reply.body) == {key: entries}
        assert (reply.content_type, reply.header_length) == ("application/json", None)


def test_the_answers_parameters_stand_beside() -> None:
    reply = v1.V1Writer(1, False).reply(Answer({"predict": [1]}, {"method": "saliency"}), MODEL)
    assert json.loads(reply.body) == {"predictions": [1], "parameters": {"method": "saliency"}}


@pytest.mark.parametrize("outputs", [{"predict": [1]}, {"predict": [1, 2], "p": np.ones(3)}])
def test_a_wrong_number_of_rows_is_never_sent(outputs: Any) -> None:
    with pytest.raises(ValueError, match="rows"):
        v1.V1Writer(2, False).reply(Answer(outputs), MODEL)
