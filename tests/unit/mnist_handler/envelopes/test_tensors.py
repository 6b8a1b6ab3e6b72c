"""V2 tensors: what goes in comes out, and what cannot go in is refused by name."""

from __future__ import annotations

import json
from typing import Any, Iterator, List, Tuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_handler.envelopes import jsoncodec
from mnist_handler.envelopes.datatypes import DTYPES, datatype_of, join_elements, split_elements
from mnist_handler.envelopes.jsoncodec import dumps, jsonable
from mnist_handler.envelopes.tensors import read_binary, read_json, read_shape, write_output
from tests.unit.mnist_handler.envelopes.wire_worker import NUMERIC, same, tensors, to_binary, to_json


@pytest.fixture(params=["orjson", "json"], autouse=True, scope="module")
def library(request: pytest.FixtureRequest) -> Iterator[str]:
    """Everything here holds with orjson and with the standard library alone."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "json":
            patch.setattr(jsoncodec, "orjson", None)
        elif jsoncodec.orjson is None:
            pytest.skip("orjson is not installed")
        yield request.param


@given(tensor=tensors(), flat=st.booleans())
def test_json_round_trip(tensor: Tuple[str, np.ndarray[Any, Any]], flat: bool) -> None:
    datatype, array = tensor
    data = to_json(array.ravel() if flat or array.ndim == 0 else array)
    read = read_json(data, datatype, read_shape(list(array.shape), datatype) if array.ndim else array.shape)
    if datatype != "BYTES" or array.ndim:  # BYTES of shape [] have the shape [1]
        assert same(read, array)
    written = write_output(array)
    assert (written.datatype, written.shape) == (datatype, array.shape)
    if isinstance(written.elements, np.ndarray):
        document = json.loads(dumps({"data": jsonable(written.elements.ravel())}))
        assert same(read_json(document["data"], datatype, array.shape), array)


@given(tensor=tensors(), padding=st.integers(0, 9))
def test_binary_round_trip(tensor: Tuple[str, np.ndarray[Any, Any]], padding: int) -> None:
    datatype, array = tensor
    data = memoryview(bytearray(padding) + to_binary(array))[padding:]
    read = read_binary(data, datatype, array.shape)
    assert same(read, array)
    assert not isinstance(read, np.ndarray) or read.flags.aligned


@given(tensor=tensors())
def test_outputs_keep_dtype_shape_and_bits(tensor: Tuple[str, np.ndarray[Any, Any]]) -> None:
    datatype, array = tensor
    for given_form in (array, np.asfortranarray(array), array.astype(array.dtype.newbyteorder(">"))):
        written = write_output(given_form.reshape(array.shape))
        assert (written.datatype, written.shape) == (datatype, array.shape)
        blob = join_elements(written.elements) if isinstance(written.elements, list) else written.elements.tobytes()
        assert blob == to_binary(array)


@given(st.lists(st.binary(max_size=20)))
def test_bytes_elements_round_trip(elements: List[bytes]) -> None:
    assert split_elements(bytearray(join_elements(elements))) == elements


@given(st.binary(max_size=40))
def test_any_bytes_are_elements_or_a_value_error(data: bytes) -> None:
    try:
        elements = split_elements(data)
    except ValueError:
        return
    assert join_elements(elements) == data


@given(
    datatype=NUMERIC,
    data=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=6,
    ),
)
def test_any_data_are_a_tensor_or_a_value_error(datatype: str, data: Any) -> None:
    try:
        array = read_json(data, datatype, (2,))
    except ValueError:
        return
    assert isinstance(array, np.ndarray)
    assert (array.shape, array.dtype) == ((2,), DTYPES[datatype])
    flat = data[0] if isinstance(data[0], list) else data
    flat = [element for part in data for element in (part if isinstance(part, list) else [part])] or flat
    while flat and isinstance(flat[0], list):
        flat = [element for part in flat for element in part]
    for element, stored in zip(flat, array.tolist()):
        if isinstance(element, (bool, int)) and not datatype.startswith("FP"):
            assert stored == element
            assert type(stored) is type(element)


@pytest.mark.parametrize(
    ("datatype", "data", "text"),
    [
        ("UINT8", [1, 300], "element 1 is beyond UINT8"),
        ("UINT8", [1, -1], "element 1 is beyond UINT8"),
        ("UINT64", [2**64, 1], "element 0"),
        ("UINT64", [-1, 1], "element 0 is beyond UINT64"),
        ("INT64", [1, 2**63], "element 1"),
        ("INT32", [1, 1.0], "element 1 must be an integer"),
        ("INT32", [1, True], "element 1 must be an integer"),
        ("INT32", ["1", 2], "element 0 must be an integer"),
        ("BOOL", [True, 1], "element 1 must be true or false"),
        ("FP32", [1.5, 1e39], "element 1 is beyond FP32"),
        ("FP16", [1.5, 70000], "element 1 is beyond FP16"),
        ("FP64", [1.5, 10**400], "beyond FP64"),
        ("FP64", [1.5, float("nan")], "element 1"),
        ("FP32", [1.5, None], "element 1 must be a number"),
        ("FP32", [1.5, "nan"], "element 1 must be a number"),
        ("FP32", [1.5, False], "element 1 must be a number"),
        ("FP32", [[1.5], [1.5, 2.5]], "irregularly"),
        ("FP32", [[1.5], 2.5], "irregularly"),
        ("FP32", [1.5, [2.5]], "element 1"),
        ("FP32", [1.5], "takes 2 elements, its data has 1"),
        ("FP32", 1.5, "must be a list"),
        ("FP32", {"0": 1.5}, "must be a list"),
        ("FP32", None, "must be a list"),
        ("BYTES", ["a", 1], "element 1 must be text"),
        ("BYTES", ["a", "\ud800"], "surrogate"),
    ],
)
def test_refused_data_say_why(datatype: str, data: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        read_json(data, datatype, (2,))


@pytest.mark.parametrize("shape", [None, 1, -1, [-1], ["1"], [1.0], [True], [2**64], [1] * 33, "1", {}])
def test_refused_shapes(shape: Any) -> None:
    with pytest.raises(ValueError, match="its shape must"):
        read_shape(shape, "FP32")


@pytest.mark.parametrize("shape", [-1, [], [-1]])
def test_bytes_may_leave_their_shape_open(shape: Any) -> None:
    assert read_json(["a", "b"], "BYTES", read_shape(shape, "BYTES")) == [b"a", b"b"]


@pytest.mark.parametrize("shape", [(10**9,), (10**18, 10**18), (2**62, 0, 2**62), (0, 2**63 - 1)])
def test_absurd_shapes_cost_nothing(shape: Tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes|too"):
        read_json([1.0], "FP32", shape)
    if 0 in shape:
        with pytest.raises(ValueError, match="too large"):
            read_json([], "FP32", shape)
        with pytest.raises(ValueError, match="too large"):
            read_binary(b"", "FP32", shape)


@pytest.mark.parametrize(
    ("datatype", "data", "text"),
    [
        ("FP32", b"1234567", "is 8 bytes, not 7"),
        ("BOOL", b"\x01\x02", "BOOL byte"),
        ("BYTES", b"\x01\x00\x00\x00a", "takes 2 elements, its data has 1"),
        ("BYTES", b"\xff\xff\xff\xffa", "within element 0"),
        ("BYTES", b"\x01\x00", "within the length of element 0"),
    ],
)
def test_refused_binary_data_say_why(datatype: str, data: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        read_binary(data, datatype, (2,))


@pytest.mark.parametrize(
    ("rows", "datatype", "shape", "elements"),
    [
        ([1, 2], "INT64", (2,), [1, 2]),
        ([[1, 2.5], [3, 4]], "FP64", (2, 2), [[1.0, 2.5], [3.0, 4.0]]),
        ([True, False], "BOOL", (2,), [True, False]),
        (["a", b"\xff"], "BYTES", (2,), [b"a", b"\xff"]),
        ([["a", "b"]], "BYTES", (1, 2), [b"a", b"b"]),
        ([{"a": 1}, "x"], "BYTES", (2,), [b'{"a":1}', b"x"]),
        ([[1], [1, 2]], "BYTES", (2,), [b"[1]", b"[1,2]"]),
        ([2**70], "BYTES", (1,), [str(2**70).encode()]),
        ([np.float32(1), np.float32(2)], "FP32", (2,), [1.0, 2.0]),
        ([np.ones((2, 2), np.uint8)], "UINT8", (1, 2, 2), [[[1, 1], [1, 1]]]),
        ([np.ones(1), np.ones(2)], "BYTES", (2,), [b"[1.0]", b"[1.0,1.0]"]),
        ([], "BYTES", (0,), []),
    ],
)
def test_lists_get_the_fitting_datatype(rows: List[Any], datatype: str, shape: Any, elements: Any) -> None:
    written = write_output(rows)
    assert (written.datatype, written.shape) == (datatype, shape)
    assert (written.elements.tolist() if isinstance(written.elements, np.ndarray) else written.elements) == elements


def test_numbers_without_a_datatype_are_the_models_bug() -> None:
    with pytest.raises(TypeError, match="complex"):
        datatype_of(np.dtype(complex))
