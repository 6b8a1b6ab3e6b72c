from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mnist_handler.inputs.arrays import TensorError, cast, from_lists, image_rows, split_rows
from mnist_handler.inputs.spec import PIXELS, PREPROCESSED, UNIT


@pytest.mark.parametrize(
    ("shape", "row", "rows"),
    [
        ((28, 28), (1, 28, 28), 1),
        ((1, 28, 28), (1, 28, 28), 1),
        ((5, 28, 28), (1, 28, 28), 5),
        ((5, 1, 28, 28), (1, 28, 28), 5),
        ((0, 1, 28, 28), (1, 28, 28), 0),
        ((3, 8, 9), (3, 8, 9), 1),
        ((2, 3, 8, 9), (3, 8, 9), 2),
        ((7, 4), (-1,), 7),
    ],
)
def test_rows_are_found(shape: Tuple[int, ...], row: Tuple[int, ...], rows: int) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    split = split_rows(array, row)
    assert len(split) == rows
    assert split.ndim == len(row) + 1
    assert np.array_equal(split.ravel(), array.ravel())


@pytest.mark.parametrize("shape", [(784,), (28, 27), (3, 28, 28, 1), (2, 2, 28, 28), (1, 1, 1, 28, 28), ()])
def test_other_shapes_are_refused(shape: Tuple[int, ...]) -> None:
    with pytest.raises(TensorError, match="is not"):
        split_rows(np.zeros(shape), (1, 28, 28))


def test_three_channels_have_no_shortcut() -> None:
    with pytest.raises(TensorError):
        split_rows(np.zeros((8, 9)), (3, 8, 9))


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(1), st.just(2), st.just(2))))
def test_uint8_is_taken_as_it_is(pixels: np.ndarray[Any, Any]) -> None:
    chunk, faults = image_rows(pixels, normalized=False, typed=True, first_row=0)
    assert (chunk.encoding, faults) == (PIXELS, {})
    assert np.array_equal(chunk.array, pixels)
    wide, faults = image_rows(pixels.astype(np.int64), normalized=False, typed=True, first_row=0)
    assert (wide.encoding, faults) == (PIXELS, {})
    assert np.array_equal(wide.array, pixels)


@given(
    hnp.arrays(np.float64, (3, 1, 2, 2), elements=st.floats(0, 1)),
    st.sets(st.integers(0, 2)),
    st.sampled_from([-0.5, 1.5, 255.0, float("nan"), float("inf"), -float("inf")]),
)
def test_rows_out_of_range_are_named(values: np.ndarray[Any, Any], bad: Any, poison: float) -> None:
    for row in bad:
        values[row, 0, 1, 0] = poison
    chunk, faults = image_rows(values, normalized=False, typed=True, first_row=10)
    assert chunk.encoding == UNIT
    assert sorted(faults) == sorted(row + 10 for row in bad)
    ready, not_finite = image_rows(values, normalized=True, typed=True, first_row=0)
    assert ready.encoding == PREPROCESSED
    assert bool(not_finite) == (bool(bad) and not np.isfinite(poison))


def test_untyped_integers() -> None:
    zeros_and_ones = np.array([[[[0, 1]]]])
    assert image_rows(zeros_and_ones, False, typed=False, first_row=0)[0].encoding == UNIT
    assert image_rows(zeros_and_ones * 2, False, typed=False, first_row=0)[0].encoding == PIXELS
    assert image_rows(zeros_and_ones, False, typed=True, first_row=0)[0].encoding == PIXELS
    assert image_rows(zeros_and_ones * 300, False, typed=False, first_row=3)[1] == {
        3: "values from 0 to 300 are not 0..255"
    }


@pytest.mark.parametrize("array", [np.zeros((1, 1, 1, 1), bool), np.zeros((1, 1, 1, 1), complex)])
def test_other_datatypes_are_refused(array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(TensorError, match="datatype"):
        image_rows(array, False, typed=True, first_row=0)


@pytest.mark.parametrize("value", [[[1, 2], [3]], [["a"]], [[None]], [[True, 1]], {"a": 1}, 10**400])
def test_lists_that_are_no_numbers(value: Any) -> None:
    with pytest.raises(TensorError):
        from_lists(value)


@pytest.mark.parametrize(("array", "datatype"), [(np.array([1.5]), "INT64"), (np.array(["x"]), "FP32")])
def test_cast_refuses_datatypes_that_never_fit(array: np.ndarray[Any, Any], datatype: str) -> None:
    with pytest.raises(TensorError):
        cast(array, datatype, 0, {})


@pytest.mark.parametrize(
    ("array", "datatype", "words"),
    [
        (np.array([1, 300, 2, -1]), "UINT8", "value 300 is not from 0 to 255, as UINT8 takes"),
        (
            np.array([1, 2**63, 2, 2**64 - 1], np.uint64),
            "INT64",
            f"value {2**63} is not from {-(2**63)} to {2**63 - 1}",
        ),
        (np.array([1, np.nan, 2, np.inf]), "FP32", "NaN or infinity among the values"),
        (np.array([1, 1e39, 2, -1e39]), "FP32", "NaN or infinity among the values"),
        (np.array([1, 70000, 0, 1e9]), "FP16", "NaN or infinity among the values"),
        (np.array([1, 2, 0, 7]), "BOOL", "value 2 is not from 0 to 1, as BOOL takes"),
    ],
)
def test_cast_names_the_rows_that_do_not_fit(array: np.ndarray[Any, Any], datatype: str, words: str) -> None:
    faults: Dict[int, str] = {}
    rows = cast(array, datatype, 5, faults)
    assert sorted(faults) == [6, 8]
    assert words in faults[6]
    assert rows.tolist() == [array[0], 0, array[2], 0]
    assert not np.shares_memory(rows, array)


@given(hnp.arrays(np.int16, 5), st.sampled_from(["INT32", "INT64", "FP32", "FP64"]))
def test_cast_keeps_values(array: np.ndarray[Any, Any], datatype: str) -> None:
    faults: Dict[int, str] = {}
    assert np.array_equal(cast(array, datatype, 0, faults), array)
    assert not faults
