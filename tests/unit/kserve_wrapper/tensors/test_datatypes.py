"""JSON elements to bytes and back, for every datatype."""

from __future__ import annotations

import math
from typing import Any, List, Tuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.core.calls import Tensor
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.tensors.bfloat16 import narrow, widen
from kserve_wrapper.tensors.datatypes import (
    DATATYPES,
    DTYPES,
    byte_length,
    bytes_elements,
    check_buffer,
    count_bytes,
    decode_elements,
    encode_elements,
    join_bytes,
    values_of,
)


def elements_of(datatype: str) -> st.SearchStrategy[Any]:
    """Elements that JSON can hold, NaN and infinity excepted."""
    if datatype == "BYTES":
        return st.text()
    if datatype == "BOOL":
        return st.booleans()
    if datatype == "BF16":
        finite = st.integers(0, 2**16 - 1).filter(lambda bits: bits & 0x7F80 != 0x7F80)
        return finite.map(lambda bits: float(widen(bits.to_bytes(2, "little"))[0]))
    dtype = DTYPES[datatype]
    if dtype.kind == "f":
        return st.floats(width=8 * dtype.itemsize, allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]
    limits = np.iinfo(dtype)
    return st.integers(int(limits.min), int(limits.max))


@st.composite
def typed_elements(draw: st.DrawFn) -> Tuple[str, List[Any]]:
    datatype = draw(st.sampled_from(DATATYPES))
    return datatype, draw(st.lists(elements_of(datatype), max_size=12))


@given(typed_elements())
def test_round_trip(typed: Tuple[str, List[Any]]) -> None:
    datatype, elements = typed
    shape, data = encode_elements(elements, datatype, [len(elements)], "x")
    check_buffer(Tensor("x", datatype, shape, data))
    assert decode_elements(datatype, data) == elements
    if datatype != "BYTES":
        assert byte_length(datatype, shape) == len(data)


@given(typed_elements(), st.sampled_from([1, 2, 3]))
def test_nested_equals_flat(typed: Tuple[str, List[Any]], columns: int) -> None:
    datatype, elements = typed
    rows = len(elements) // columns
    flat = elements[: rows * columns]
    nested = [flat[row * columns : (row + 1) * columns] for row in range(rows)]
    shape = [rows, columns]
    assert encode_elements(nested, datatype, shape, "x") == encode_elements(flat, datatype, shape, "x")


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
def test_nan_and_infinity_are_protobufs_strings(datatype: str) -> None:
    elements = [1.5, "NaN", "Infinity", "-Infinity"]
    _, data = encode_elements(elements, datatype, [4], "x")
    values = values_of(datatype, data)
    assert math.isnan(values[1])
    assert values[2:].tolist() == [math.inf, -math.inf]
    assert decode_elements(datatype, data) == elements


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name.lstrip("U").startswith("INT")])
def test_integers_beyond_the_range_are_refused(datatype: str) -> None:
    limits = np.iinfo(DTYPES[datatype])
    for outside in (int(limits.min) - 1, int(limits.max) + 1, 10**30):
        with pytest.raises(InvalidRequest, match=f"element 1 is outside {datatype}"):
            encode_elements([0, outside], datatype, [2], "x")


@pytest.mark.parametrize(
    ("datatype", "data", "shape", "message"),
    [
        ("FP32", [1.0, 1e39], [2], "element 1 is beyond FP32"),
        ("FP16", [70000], [1], "element 0 is beyond FP16"),
        ("FP64", [10**400], [1], "beyond FP64's range"),
        ("FP32", [1.0, None], [2], "element 1 is not a number"),
        ("FP32", [1.0, "1.0"], [2], "element 1 is not a number"),
        ("FP32", [True], [1], "element 0 is not a number"),
        ("INT32", [1.0], [1], "element 0 is not an integer"),
        ("INT32", [True], [1], "element 0 is not an integer"),
        ("BOOL", [0], [1], "element 0 is not true or false"),
        ("BYTES", ["a", 1], [2], "element 1 is not text"),
        ("BYTES", ["\ud800"], [1], "unpaired surrogate"),
        ("FP32", [[1.0], [1.0, 2.0]], [3], "nested irregularly"),
        ("FP32", [[1.0], 1.0], [2], "nested irregularly"),
        ("FP32", [1.0, [1.0]], [2], "element 1 is not a number"),
        ("FP32", {"a": 1}, [1], "must be a list"),
        ("FP32", [1.0], [2], "shape \\[2\\] needs 2 elements, data has 1"),
        ("FP32", [1.0], [-1], "integers of 0 and above"),
        ("FP32", [1.0], [True], "integers of 0 and above"),
        ("FP32", [1.0], [1.0], "integers of 0 and above"),
        ("BYTES", ["a", "b"], [2, 2], "needs 4 elements"),
        ("BF16", [3.4e38], [1], "element 0 is beyond BF16"),
        ("BF16", ["1"], [1], "element 0 is not a number"),
        ("FP8", [1.0], [1], "is none of BOOL"),
        ("FP32", [1.0], -1, "integers of 0 and above"),
        ("FP32", "1.0", [1], "must be a list"),
        ("BYTES", [None], [1], "element 0 is not text"),
        (None, [1.0], [1], "is none of BOOL"),
    ],
)
def test_refusals_name_the_tensor_and_the_fault(datatype: Any, data: Any, shape: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        encode_elements(data, datatype, shape, "inputs[0]")
    assert caught.value.message.startswith("inputs[0]: ")


@pytest.mark.parametrize("shape", [-1, [], [-1], [2]])
def test_bytes_resolve_the_shapes_of_kserves_samples(shape: Any) -> None:
    assert encode_elements(["a", "bc"], "BYTES", shape, "x") == ((2,), b"\1\0\0\0a\2\0\0\0bc")


@given(st.lists(st.binary(max_size=9)))
def test_bytes_framing_round_trip(elements: List[bytes]) -> None:
    joined = join_bytes(elements)
    assert bytes_elements(memoryview(joined)) == elements
    assert count_bytes(joined) == len(elements)


@given(st.lists(st.binary(max_size=9), min_size=1), st.data())
def test_cut_bytes_framing_is_refused(elements: List[bytes], data: st.DataObject) -> None:
    joined = join_bytes(elements)
    ends = {len(join_bytes(elements[:count])) for count in range(len(elements) + 1)}
    cut = data.draw(st.integers(0, len(joined) - 1).filter(lambda size: size not in ends))
    with pytest.raises(InvalidRequest, match="ends inside element"):
        count_bytes(joined[:cut])


def test_bytes_that_are_no_text_have_no_json_form() -> None:
    with pytest.raises(InvalidRequest, match="binary_data=true"):
        decode_elements("BYTES", join_bytes([b"\xff\xfe"]))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor("x", "FP32", (2,), b"\0" * 7), "is 8 bytes, not 7"),
        (Tensor("x", "FP32", (2,), b"\0" * 9), "is 8 bytes, not 9"),
        (Tensor("x", "FP32", (-1,), b"\0" * 8), "negative dimension"),
        (Tensor("x", "BYTES", (2,), join_bytes([b"a"])), "needs 2 elements, data has 1"),
        (Tensor("x", "BYTES", (1,), b"\5\0\0\0a"), "ends inside element 0"),
        (Tensor("x", "FP8", (1,), b"a"), "is none of"),
    ],
)
def test_check_buffer_refuses(tensor: Tensor, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        check_buffer(tensor)


def test_a_single_text_is_one_element() -> None:
    assert encode_elements("ab", "BYTES", -1, "x") == ((1,), b"\2\0\0\0ab")


def test_an_object_is_its_json_text() -> None:
    _, data = encode_elements([{"text": "good film"}, "plain"], "BYTES", [], "x")
    assert bytes_elements(data) == [b'{"text":"good film"}', b"plain"]


@pytest.mark.parametrize("datatype", ["INT64", "BYTES"])
def test_a_bare_number_is_a_shape_of_one_dimension(datatype: str) -> None:
    element: Any = "a" if datatype == "BYTES" else 7
    assert encode_elements([element] * 3, datatype, 3, "x") == encode_elements([element] * 3, datatype, [3], "x")


@given(st.integers(0, 2**16 - 1))
def test_every_bf16_survives_fp32(bits: int) -> None:
    raw = bits.to_bytes(2, "little")
    wide = widen(raw)
    assert np.isnan(wide[0]) if bits & 0x7FFF > 0x7F80 else narrow(wide).tobytes() == raw


@given(st.floats(width=32, min_value=-(2.0**127), max_value=2.0**127))
def test_bf16_is_the_nearest(value: float) -> None:
    nearest = int(narrow(np.array([value], "<f4"))[0])

    def distance(bits: int) -> float:
        return abs(float(widen(bits.to_bytes(2, "little"))[0]) - value)

    others = [distance(bits) for bits in (nearest - 1, nearest + 1) if 0 <= bits < 2**16 and bits & 0x7FFF <= 0x7F80]
    assert all(distance(nearest) < other or (distance(nearest) == other and nearest % 2 == 0) for other in others)
