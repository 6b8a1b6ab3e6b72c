"""V2's HTTP codec: round trips in JSON and binary, and nothing but InvalidRequest is raised."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

import orjson
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.codecs import v2
from kserve_wrapper.core.calls import Tensor, V2Call, V2Reply
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.tensors.binary import compose_body, compose_tensors, parse_body, parse_tensors
from tests.unit.kserve_wrapper.codecs.strategies import damaged, json_values, names, parameters, tensor_lists


def request(body: bytes, length: Any, version: Any = None) -> v2.V2Request:
    return v2.decode_request(body, None if length is None else str(length), "m", version, False, {})


def same(left: List[Tensor], right: List[Tensor]) -> bool:
    """Equal, whatever kind of buffer holds the data."""
    return [(t.name, t.datatype, t.shape, bytes(t.data), dict(t.parameters)) for t in left] == [
        (t.name, t.datatype, t.shape, bytes(t.data), dict(t.parameters)) for t in right
    ]


@given(tensors=tensor_lists(), binary=st.booleans(), given_parameters=parameters, identifier=st.none() | names)
def test_requests_are_read_as_written(
    tensors: List[Tensor], binary: bool, given_parameters: Mapping[str, Any], identifier: Any
) -> None:
    entries, chunks = compose_tensors(tensors, binary)
    body, length = compose_body({"inputs": entries, "parameters": given_parameters, "id": identifier}, chunks)
    asked = request(body, length)
    assert same(asked.call.inputs, tensors)
    assert asked.call.parameters == given_parameters
    assert asked.id == identifier


@given(tensors=tensor_lists(text=False), given_parameters=parameters, version=st.none() | names)
def test_binary_replies_are_written_as_they_are(
    tensors: List[Tensor], given_parameters: Mapping[str, Any], version: Any
) -> None:
    asked = v2.V2Request(V2Call("m", version, False, []), "7", True)
    body, length = v2.encode_reply(asked, V2Reply(tensors, None, given_parameters))
    header, data = parse_body(body, None if length is None else str(length))
    assert same(parse_tensors(header["outputs"], data, "outputs"), tensors)
    assert (header["model_name"], header["id"], header.get("model_version")) == ("m", "7", version)
    assert header.get("parameters", {}) == given_parameters


@given(tensors=tensor_lists(), choice=st.data())
def test_each_output_has_the_form_asked_for(tensors: List[Tensor], choice: Any) -> None:
    wanted = choice.draw(st.lists(st.sampled_from(tensors), unique_by=lambda t: t.name, min_size=1))
    binary = {tensor.name: choice.draw(st.booleans()) for tensor in wanted}
    asked = v2.V2Request(V2Call("m", None, False, [], list(binary)), None, binary)
    body, length = v2.encode_reply(asked, V2Reply(tensors))
    header, data = parse_body(body, None if length is None else str(length))
    assert same(parse_tensors(header["outputs"], data, "outputs"), wanted)
    assert {entry["name"]: "data" not in entry for entry in header["outputs"]} == binary


TENSOR: Dict[str, Any] = {"name": "i", "datatype": "FP32", "shape": [2], "data": [1, 2], "parameters": {"a": 1}}
REQUEST: Dict[str, Any] = {"id": "1", "parameters": {"p": True}, "inputs": [TENSOR], "outputs": [{"name": "o"}]}


@given(
    content=st.one_of(
        damaged(REQUEST),
        damaged(TENSOR).map(lambda tensor: {**REQUEST, "inputs": [tensor]}),
        json_values.map(lambda value: {**REQUEST, "outputs": [{"name": "o", "parameters": value}]}),
        json_values,
    ),
    length=st.none() | st.integers(-2, 400) | st.text(max_size=4),
    tail=st.binary(max_size=16),
)
def test_nothing_but_invalid_request(content: Any, length: Any, tail: bytes) -> None:
    body = orjson.dumps(content) + tail
    try:
        asked = request(body, length)
    except InvalidRequest:
        return
    assert asked.call.inputs


@given(tensors=tensor_lists(), size=st.integers(-3, 80), tail=st.binary(max_size=40))
def test_binary_sizes_that_lie(tensors: List[Tensor], size: int, tail: bytes) -> None:
    entries, _ = compose_tensors(tensors, True)
    entries[0]["parameters"]["binary_data_size"] = size
    text = orjson.dumps({"inputs": entries})
    try:
        asked = request(text + tail, len(text))
    except InvalidRequest:
        return
    assert sum(memoryview(tensor.data).nbytes for tensor in asked.call.inputs) == len(tail)
