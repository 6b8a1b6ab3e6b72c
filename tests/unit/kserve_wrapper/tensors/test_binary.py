"""JSON header and binary chunks: round trips, and every way in which the sizes can be wrong."""

from __future__ import annotations

from typing import Any, Dict, List

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.core.calls import Tensor
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.tensors.binary import compose_body, compose_tensors, parse_body, parse_tensors
from kserve_wrapper.tensors.datatypes import encode_elements, join_bytes

FP32 = Tensor("a", "FP32", (2, 1), encode_elements([1.0, 2.5], "FP32", [2, 1], "a")[1], {"p": 1})
TEXTS = Tensor("b", "BYTES", (2,), join_bytes([b"x", b""]))
EMPTY = Tensor("c", "INT64", (0, 3), b"")


def parse(body: bytes, header_length: Any) -> List[Tensor]:
    header, binary = parse_body(body, None if header_length is None else str(header_length))
    return parse_tensors(header["inputs"], binary, "inputs")


@given(st.lists(st.sampled_from([FP32, TEXTS, EMPTY]), min_size=1), st.data())
def test_round_trip_of_mixed_json_and_binary(tensors: List[Tensor], data: st.DataObject) -> None:
    binary = data.draw(st.one_of(st.booleans(), st.dictionaries(st.sampled_from("abc"), st.booleans())))
    entries, chunks = compose_tensors(tensors, binary)
    assert parse(*compose_body({"inputs": entries}, chunks)) == tensors


def test_the_specifications_layout() -> None:
    entries, chunks = compose_tensors([FP32], True)
    body, length = compose_body({"inputs": entries}, chunks)
    assert length is not None
    parameters = orjson.loads(body[:length])["inputs"][0]["parameters"]
    assert parameters == {"p": 1, "binary_data_size": 8}
    assert body[length:] == FP32.data


def request(entry: Dict[str, Any], binary: bytes = b"") -> bytes:
    return orjson.dumps({"inputs": [entry]}) + binary


@pytest.mark.parametrize(
    ("change", "binary", "message"),
    [
        ({"parameters": {"binary_data_size": 8}}, b"\0" * 7, "7 bytes left"),
        ({"parameters": {"binary_data_size": 8}}, b"\0" * 9, "take 8 bytes of binary data, the body has 9"),
        ({"parameters": {"binary_data_size": 4}}, b"\0" * 4, "is 8 bytes, not 4"),
        ({"parameters": {"binary_data_size": -1}}, b"\0" * 8, "binary_data_size -1"),
        ({"parameters": {"binary_data_size": "8"}}, b"\0" * 8, "binary_data_size '8'"),
        ({"parameters": {"binary_data_size": True}}, b"\0" * 8, "binary_data_size True"),
        ({"parameters": {"binary_data_size": 8}, "data": [1, 2]}, b"\0" * 8, "exclude each other"),
        ({"parameters": {"binary_data_size": 8}, "shape": [-2]}, b"\0" * 8, "negative dimension"),
        ({"parameters": {"binary_data_size": 8}, "shape": ["2"]}, b"\0" * 8, "list of integers"),
        ({"parameters": {"p": [1]}, "data": [1, 2]}, b"", "parameter 'p'"),
        ({"parameters": [], "data": [1, 2]}, b"", "parameters must be"),
        ({"data": [1, 2]}, b"\0", "take 0 bytes of binary data, the body has 1"),
        ({}, b"", "neither data nor"),
        ({"shape": -1, "data": [1, 2]}, b"", "shape must be a list"),
        ({"name": 1, "data": [1, 2]}, b"", "name must be a string"),
        ({"datatype": "FLOAT", "data": [1, 2]}, b"", "is none of"),
    ],
)
def test_refusals(change: Dict[str, Any], binary: bytes, message: str) -> None:
    entry = {"name": "x", "datatype": "FP32", "shape": [2], **change}
    length = len(request(entry))
    with pytest.raises(InvalidRequest, match=message) as caught:
        parse(request(entry, binary), length)
    assert "inputs" in caught.value.message or "'x'" in caught.value.message


@pytest.mark.parametrize("length", ["-1", "x", "", "1e2", "99999", "9" * 5000, "²"])
def test_header_length_must_lie_in_the_body(length: str) -> None:
    with pytest.raises(InvalidRequest, match="Inference-Header-Content-Length must be a number"):
        parse_body(b'{"inputs": []}', length)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"null"])
def test_body_must_be_a_json_object(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="the body"):
        parse_body(body, None)


@pytest.mark.parametrize("entries", [None, [], {}, "x", [1]])
def test_tensors_must_be_a_list_of_objects(entries: Any) -> None:
    with pytest.raises(InvalidRequest, match="outputs"):
        parse_tensors(entries, b"", "outputs")
