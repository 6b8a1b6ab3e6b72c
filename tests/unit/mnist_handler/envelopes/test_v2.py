"""V2: tensors, parameters, ids and outputs, in JSON and with binary tensor data."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_handler.envelopes import v2
from mnist_handler.envelopes.datatypes import DTYPES, split_elements
from mnist_handler.envelopes.v2_reply import V2Writer
from mnist_handler.envelopes.worker_context import Model, Reply
from mnist_handler.requests import Answer, RequestError
from tests.unit.mnist_handler.envelopes.wire_worker import same, tensors, to_binary, to_json

MODEL = Model("mnist", "1.0")
Named = List[Tuple[str, Tuple[str, np.ndarray[Any, Any]], bool]]
INPUTS = st.lists(st.tuples(st.text(max_size=4), tensors(), st.booleans()), min_size=1, max_size=4)


def describe(name: str, datatype: str, array: np.ndarray[Any, Any]) -> Dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(array.shape)}


def body_of(inputs: Named, **rest: Any) -> Tuple[bytes, int]:
    """A request with some inputs as JSON and some as binary data, and the length of its JSON part."""
    blobs = []
    entries = []
    for name, (datatype, array), binary in inputs:
        entry = describe(name, datatype, array)
        if binary:
            blobs.append(to_binary(array))
            entry["parameters"] = {"binary_data_size": len(blobs[-1]), "own": 1}
        else:
            entry["data"] = to_json(array if array.ndim else array.ravel())
        entries.append(entry)
    header = json.dumps({"inputs": entries, **rest}).encode()
    return b"".join([header, *blobs]), len(header)


def parse_body(body: bytes, length: object) -> Any:
    return v2.parse(*v2.split_body(bytearray(body), str(length)), explain=False)


def refusal(document: Any, tail: Optional[bytes] = None) -> RequestError:
    with pytest.raises(RequestError) as caught:
        v2.parse(document, None if tail is None else memoryview(tail), False)
    assert caught.value.status == 400
    return caught.value


def one(**changes: Any) -> Dict[str, Any]:
    entry = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2], **changes}
    return {"inputs": [{key: value for key, value in entry.items() if value is not ...}]}


@given(INPUTS)
def test_inputs_arrive_as_sent(inputs: Named) -> None:
    body, length = body_of(inputs)
    _, request = parse_body(body, length)
    assert [name for name, _ in request.inputs] == [name for name, _, _ in inputs]
    for (_, block), (_, (datatype, array), binary) in zip(request.inputs, inputs):
        if datatype != "BYTES" or array.ndim:  # BYTES of shape [] have the shape [1]
            assert same(block.values, array)
        assert block.parameters == ({"own": 1} if binary else {})
        assert block.row_parameters == []


@given(INPUTS, st.integers(1, 8))
def test_bytes_too_many_or_too_few_are_refused(inputs: Named, wrong: int) -> None:
    body, length = body_of(inputs)
    with pytest.raises(RequestError, match="bytes"):
        parse_body(body + b"x" * wrong, length)
    if any(binary and array.size for _, (_, array), binary in inputs):
        with pytest.raises(RequestError, match="bytes are left"):
            parse_body(body[:-1], length)


@given(st.dictionaries(st.text(max_size=4), tensors(), min_size=1, max_size=4), st.booleans(), st.data())
def test_outputs_arrive_as_answered(
    outputs: Dict[str, Tuple[str, np.ndarray[Any, Any]]], default: bool, data: st.DataObject
) -> None:
    asked = data.draw(st.none() | st.permutations(sorted(outputs)).map(lambda names: names[: len(names) // 2 + 1]))
    binary = data.draw(st.dictionaries(st.sampled_from(sorted(outputs)), st.booleans()))
    form = V2Writer("an id", asked, binary, default)
    reply = form.reply(Answer({name: array for name, (_, array) in outputs.items()}, {"note": "n"}), MODEL)
    header, arrays = read_reply(reply)
    assert (header["id"], header["model_name"], header["model_version"]) == ("an id", "mnist", "1.0")
    assert header["parameters"] == {"note": "n"}
    assert [entry["name"] for entry in header["outputs"]] == (list(outputs) if asked is None else asked)
    for entry, array in zip(header["outputs"], arrays):
        datatype, expected = outputs[entry["name"]]
        assert (entry["datatype"], entry["shape"]) == (datatype, list(expected.shape))
        assert same(array, expected)
        assert ("data" in entry) != binary.get(entry["name"], default)


def read_reply(reply: Reply) -> Tuple[Any, List[np.ndarray[Any, Any]]]:
    """Reads a V2 response by the specification alone."""
    header = json.loads(reply.body[: reply.header_length])
    assert (reply.content_type == "application/octet-stream") == (reply.header_length is not None)
    rest = reply.body[reply.header_length :] if reply.header_length is not None else b""
    arrays = []
    for entry in header["outputs"]:
        if "data" in entry:
            elements: Any = entry["data"]
            if entry["datatype"] == "BYTES":
                elements = [text.encode() for text in elements]
            elif entry["datatype"].startswith("FP"):
                elements = [float(element) for element in elements]
        else:
            size = entry["parameters"]["binary_data_size"]
            blob, rest = rest[:size], rest[size:]
            elements = split_elements(blob) if entry["datatype"] == "BYTES" else None
            if elements is None:
                elements = np.frombuffer(blob, DTYPES[entry["datatype"]])
        array = np.empty(len(elements), DTYPES.get(entry["datatype"], np.dtype(object)))
        array[:] = elements
        arrays.append(array.reshape(entry["shape"]))
    assert rest == b""
    return header, arrays


def test_a_whole_request() -> None:
    document = {
        "id": "",
        "parameters": {"top_k": 3, "binary_data_output": True, "note": "x", "scale": 0.5, "on": False},
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "INT8", "data": [[1, -2]], "parameters": {"p": 1}}],
        "outputs": [{"name": "b"}, {"name": "a", "parameters": {"binary_data": False, "classification": 2}}],
    }
    form, request = v2.parse(document, None, True)
    assert form == V2Writer("", ["b", "a"], {"a": False}, True)
    assert request.outputs == ["b", "a"]
    assert request.parameters == {"top_k": 3, "note": "x", "scale": 0.5, "on": False}
    assert request.explain
    assert request.inputs[0][1].parameters == {"p": 1}


def test_null_counts_as_absent() -> None:
    absent = {"id": None, "parameters": None, "outputs": None}
    form, request = v2.parse({**one(parameters=None), **absent}, None, False)
    assert (form, request.parameters, request.outputs) == (V2Writer(None, None, {}, False), {}, None)
    assert b'"id"' not in form.reply(Answer({"a": [1]}), MODEL).body


def test_a_model_without_a_version_names_none() -> None:
    body = V2Writer(None, None, {}, False).reply(Answer({"a": [1]}), Model("m", None)).body
    assert json.loads(body) == {
        "model_name": "m",
        "outputs": [{"name": "a", "shape": [1], "datatype": "INT64", "data": [1]}],
    }


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"inputs": []}, '"inputs"'),
        ({"inputs": {}}, '"inputs"'),
        ({"inputs": [1]}, "inputs[0]"),
        (one(name=3), "inputs[0]"),
        (one(name=...), "inputs[0]"),
        (one(datatype=...), 'input "x": its datatype must be one of BOOL'),
        (one(datatype="fp32"), "its datatype"),
        (one(datatype=["FP32"]), "its datatype"),
        (one(shape=...), "its shape"),
        (one(data=...), "its data must be a list"),
        (one(data=[1, "2"]), 'input "x": element 1 must be a number'),
        (one(shape=[10**9]), "takes 1000000000 elements"),
        (one(parameters=[]), '"parameters" of input "x"'),
        (one(parameters={"a": None}), 'parameter "a" of input "x"'),
        (one(parameters={"a": [1]}), 'parameter "a"'),
        (one(parameters={"binary_data_size": 8}), "needs the request header"),
        ({**one(), "id": 3}, '"id" must be text'),
        ({**one(), "parameters": {"a": {}}}, 'parameter "a" of the request'),
        ({**one(), "parameters": {"binary_data_output": 1}}, "true or false"),
        ({**one(), "outputs": {}}, '"outputs" must be a list'),
        ({**one(), "outputs": ["a"]}, "outputs[0]"),
        ({**one(), "outputs": [{"name": "a"}, {"name": "a"}]}, "twice"),
        ({**one(), "outputs": [{"name": "a", "parameters": {"binary_data": "yes"}}]}, "true or false"),
    ],
)
def test_refused_requests_say_why(document: Any, text: str) -> None:
    assert text in refusal(document).message


@pytest.mark.parametrize(
    ("size", "tail", "text"),
    [
        (-1, b"", "0 and above"),
        (True, b"x", "0 and above"),
        ("8", b"12345678", "0 and above"),
        (8.0, b"12345678", "0 and above"),
        (2**64, b"12345678", "8 bytes are left"),
        (9, b"12345678", "8 bytes are left"),
        (4, b"12345678", "is 8 bytes, not 4"),
        (8, b"123456789", "add up to 8 bytes, 9 came"),
    ],
)
def test_refused_sizes_say_why(size: Any, tail: bytes, text: str) -> None:
    assert text in refusal(one(data=..., parameters={"binary_data_size": size}), tail).message


def test_data_twice_are_refused() -> None:
    assert "both" in refusal(one(parameters={"binary_data_size": 8}), b"12345678").message


@pytest.mark.parametrize("length", ["", "0", "-1", "3", "1e1", "٣", "99999999999999999999999", "1_0", "0x2"])
def test_refused_header_lengths(length: str) -> None:
    with pytest.raises(RequestError, match="Inference-Header-Content-Length must be between 1 and the body's 2"):
        v2.split_body(b"{}", length)


@pytest.mark.parametrize("body", [b"[]", b"{x", b'"a"'])
def test_a_json_part_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="JSON"):
        v2.split_body(body + b"rest", str(len(body)))


def test_an_output_that_does_not_exist_is_named() -> None:
    with pytest.raises(RequestError, match='no output "c": the outputs are a, b') as caught:
        V2Writer(None, ["a", "c"], {}, False).reply(Answer({"a": [1], "b": [1]}), MODEL)
    assert caught.value.status == 400


def test_bytes_that_are_no_text_are_for_binary_data() -> None:
    answer = Answer({"a": [b"\xff"]})
    with pytest.raises(RequestError, match="binary_data: true"):
        V2Writer(None, None, {}, False).reply(answer, MODEL)
    assert V2Writer(None, None, {"a": True}, False).reply(answer, MODEL).body.endswith(b"\x01\x00\x00\x00\xff")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (one(), True),
        (one(shape=...), True),
        ({"inputs": [{"shape": [1]}]}, True),
        ({"inputs": [], "id": "1"}, True),
        ({"inputs": []}, False),
        ({"inputs": [{"data": 1, "target": 2}]}, False),
        ({"inputs": [1]}, False),
        ({"inputs": {}}, False),
        ({"instances": [1], **one()}, False),
        ({}, False),
    ],
)
def test_which_documents_are_v2(document: Any, expected: bool) -> None:
    assert v2.is_v2(document) is expected
