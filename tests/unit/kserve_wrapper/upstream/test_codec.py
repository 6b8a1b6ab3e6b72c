"""Calls as workers get them, and their answers: V1, V2 JSON for stock handlers, V2 binary for ours."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any, Dict, List, Optional

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.core.calls import ModelMetadata, Tensor, TensorMetadata, V1Call, V1Reply, V2Call, V2Reply
from kserve_wrapper.core.errors import BadGateway, InvalidRequest
from kserve_wrapper.tensors.binary import HEADER_LENGTH, compose_body, compose_tensors, parse_body, parse_tensors
from kserve_wrapper.tensors.datatypes import bytes_elements, encode_elements, join_bytes
from kserve_wrapper.upstream.codec import decode_reply, encode_call, path_of

OURS = ModelMetadata("m", ["1"], extensions=["binary_tensor_data", "raw_body", "row_errors"])
STOCK = ModelMetadata("m", ["1"])
FP32 = Tensor("x", "FP32", (2,), np.array([1.5, 2], "<f4").tobytes(), {"p": 1})
TEXTS = Tensor("t", "BYTES", (2,), join_bytes([b"ab", b"c"]))


def v1(model: str = "m", version: Optional[str] = None, explain: bool = False, **fields: Any) -> V1Call:
    return V1Call(model, version, explain, [1], **fields)


def v2(*inputs: Tensor, model: str = "m", version: Optional[str] = None, explain: bool = False, **f: Any) -> V2Call:
    return V2Call(model, version, explain, list(inputs), **f)


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (v1(), "/v1/models/m:predict"),
        (v1(explain=True), "/v1/models/m:explain"),
        (v1(version="1.0"), "/predictions/m/1.0"),
        (v1(version="1.0", explain=True), "/explanations/m/1.0"),
        (v2(), "/v2/models/m/infer"),
        (v2(explain=True), "/v2/models/m/explain"),
        (v2(version="2"), "/predictions/m/2"),
        (v1("a b%?#&ü"), "/v1/models/a%20b%25%3F%23%26%C3%BC:predict"),
        (v1("a:b"), "/predictions/a%3Ab"),
    ],
)
def test_paths(call: Any, path: str) -> None:
    assert path_of(call) == path


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\r\nb", "a\x00", "\ud800"])
def test_names_that_would_lead_elsewhere(name: str) -> None:
    with pytest.raises(InvalidRequest):
        path_of(v1(name))
    with pytest.raises(InvalidRequest):
        path_of(v1(version=name))


def test_v1_keeps_what_stands_beside_the_instances() -> None:
    request = encode_call(v1(extra={"signature_name": "s", "parameters": {"a": 1}}), OURS)
    assert orjson.loads(request.body) == {"instances": [1], "signature_name": "s", "parameters": {"a": 1}}
    assert request.content_type == "application/octet-stream"
    assert encode_call(v1(), STOCK).content_type == "application/json"


def test_v1_without_json_form_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no JSON form"):
        encode_call(V1Call("m", None, False, [2**70]), STOCK)


def test_our_handlers_get_binary_data_and_are_asked_for_it() -> None:
    request = encode_call(v2(FP32, TEXTS, outputs=["predict"], parameters={"q": "r"}), OURS)
    header, binary = parse_body(request.body, str(request.header_length))
    assert parse_tensors(header["inputs"], binary, "inputs") == [FP32, TEXTS]
    assert header["parameters"] == {"q": "r", "binary_data_output": True}
    assert header["outputs"] == [{"name": "predict"}]
    assert "data" not in header["inputs"][0]


def test_stock_handlers_get_json() -> None:
    request = encode_call(v2(FP32, TEXTS), STOCK)
    assert (request.content_type, request.header_length) == ("application/json", None)
    assert orjson.loads(request.body) == {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [2], "data": [1.5, 2.0], "parameters": {"p": 1}},
            {"name": "t", "datatype": "BYTES", "shape": [2], "data": ["ab", "c"]},
        ]
    }


def test_stock_handlers_get_bytes_that_are_no_text_as_base64() -> None:
    request = encode_call(v2(Tensor("t", "BYTES", (1,), join_bytes([b"\x89PNG"]))), STOCK)
    assert orjson.loads(request.body)["inputs"][0]["data"] == ["iVBORw=="]


def test_stock_handlers_get_nan_as_python_reads_it() -> None:
    data = np.array([math.nan, math.inf, 1], "<f4").tobytes()
    request = encode_call(v2(Tensor("x", "FP32", (3,), data)), STOCK)
    numbers = json.loads(request.body)["inputs"][0]["data"]
    assert math.isnan(numbers[0])
    assert numbers[1:] == [math.inf, 1.0]


def reply_of(content: Dict[str, Any], call: Any) -> Any:
    return decode_reply(call, {}, json.dumps(content).encode())


def test_v1_replies() -> None:
    assert reply_of({"predictions": [1, "a"]}, v1()) == V1Reply([1, "a"])
    assert reply_of({"explanations": [[0.5]]}, v1(explain=True)) == V1Reply([[0.5]])
    assert math.isnan(reply_of({"predictions": [math.nan]}, v1()).results[0])
    with pytest.raises(BadGateway):
        reply_of({"predictions": [1]}, v1(explain=True))


def test_size_of_the_answer_is_told() -> None:
    assert decode_reply(v1(), {}, b'{"predictions": [1]}').size == 20


@given(st.lists(st.sampled_from([FP32, TEXTS]), min_size=1), st.booleans())
def test_v2_replies_of_ours(outputs: List[Tensor], binary: bool) -> None:
    entries, chunks = compose_tensors(outputs, binary)
    body, length = compose_body({"model_name": "m", "model_version": "1.0", "outputs": entries}, chunks)
    headers = {} if length is None else {HEADER_LENGTH.lower(): str(length)}
    assert decode_reply(v2(), headers, body) == V2Reply(outputs, "1.0")


def stock_output(**fields: Any) -> Dict[str, Any]:
    return {"name": "x", "datatype": "FP64", "shape": [2], "data": [1.0, 2.0], **fields}


def test_v2_replies_of_stock_handlers() -> None:
    content = {
        "id": "another client's",
        "model_name": "m",
        "model_version": None,
        "outputs": [stock_output(), stock_output(datatype="BYTES", data=[{"cat": 0.9}, "dog"])],
    }
    reply = reply_of(content, v2())
    assert reply.model_version is None
    assert reply.outputs[0] == Tensor("x", *_fp64(1.0, 2.0))
    assert bytes_elements(reply.outputs[1].data) == [b'{"cat":0.9}', b"dog"]


def _fp64(*numbers: float) -> Any:
    return ("FP64", *encode_elements(list(numbers), "FP64", [len(numbers)], "x"))


def test_nan_of_a_stock_handler_is_read() -> None:
    reply = reply_of({"outputs": [stock_output(data=[math.nan, 1.0])]}, v2())
    assert math.isnan(np.frombuffer(reply.outputs[0].data, "<f8")[0])


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"outputs": {}},
        {"outputs": [1]},
        {"outputs": [stock_output(shape=[3])]},
        {"outputs": [stock_output(shape=None)]},
        {"outputs": [stock_output(datatype="FP8")]},
        {"outputs": [stock_output(data=["a", "b"])]},
        {"outputs": [stock_output(parameters=[])]},
        {"outputs": [stock_output()], "parameters": {"a": []}},
    ],
)
def test_what_is_no_v2_reply(content: Dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BadGateway, match=r"model m answered an object with .*, which is no reply .*outputs"):
        reply_of(content, v2())
    assert "model m answered something that is no reply" in caplog.text


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"7", "a number"),
        (b"[1]", "a list"),
        (b'"x"', "a text"),
        (b"null", "null"),
        (b"true", "a boolean"),
        (b"", "nothing"),
        (b"x", "something that is not JSON"),
        (b'{"a": 1, "b": 2}', "an object with a, b"),
        (b"{}", "an object with nothing in it"),
    ],
)
@pytest.mark.parametrize("explain", [False, True])
def test_an_answer_that_is_no_v1_reply_is_named_with_what_it_should_be(body: bytes, told: str, explain: bool) -> None:
    with pytest.raises(BadGateway) as caught:
        decode_reply(V1Call("m", None, explain, [1]), {}, body)
    assert f"model m answered {told}, which is no reply" in caught.value.message
    assert ("explanations" if explain else "predictions") + '": […]} for each request' in caught.value.message


@pytest.mark.parametrize("length", ["x", "9999"])
def test_wrong_header_length_is_no_reply(length: str) -> None:
    with pytest.raises(BadGateway):
        decode_reply(v2(), {HEADER_LENGTH.lower(): length}, b'{"outputs": []}')


@pytest.mark.parametrize("metadata", [OURS, STOCK])
def test_bf16_reaches_handlers_as_the_same_numbers(metadata: ModelMetadata) -> None:
    tensor = Tensor("x", "BF16", (2,), bytes.fromhex("803f00c0"))
    sent = encode_call(v2(tensor), metadata)
    header, binary = parse_body(sent.body, None if sent.header_length is None else str(sent.header_length))
    got = parse_tensors(header["inputs"], binary, "inputs")[0]
    assert (got.datatype, np.frombuffer(got.data, "<f4").tolist()) == ("FP32", [1.0, -2.0])


def test_bf16_reaches_a_handler_that_names_it() -> None:
    known = replace(OURS, inputs=[TensorMetadata("x", "BF16", (-1,))])
    sent = encode_call(v2(Tensor("x", "BF16", (2,), bytes.fromhex("803f00c0"))), known)
    assert sent.body.endswith(bytes.fromhex("803f00c0"))
