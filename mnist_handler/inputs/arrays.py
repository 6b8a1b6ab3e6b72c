"""Numbers that a client sent, as rows: shapes, datatypes and ranges checked, row by row."""

from __future__ import annotations

from itertools import chain
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from mnist_handler.inputs.spec import PIXELS, PREPROCESSED, UNIT, Chunk

#: float32 values that were rounded on the way may leave 0..1 by this much.
_SLACK = 1e-6


class TensorError(ValueError):
    """The whole input cannot be rows of this shape; the message says why."""


def split_rows(array: np.ndarray[Any, Any], row_shape: Tuple[int, ...]) -> np.ndarray[Any, Any]:
    """View an array as [rows, *row_shape].

    A row may stand alone, without a batch dimension; where the first dimension of a row is 1 (greyscale), it may
    be left out: for (1, 28, 28) that is [28, 28], [1, 28, 28] or [n, 28, 28], and [n, 1, 28, 28].

    Raises:
        TensorError: no such shape.
    """
    shape = array.shape
    if _fits(shape[1:], row_shape) and len(shape) == len(row_shape) + 1:
        return array
    if _fits(shape, row_shape):
        return array[None]
    if row_shape and row_shape[0] == 1:
        if _fits(shape, row_shape[1:]):
            return array[None, None]
        if _fits(shape[1:], row_shape[1:]) and len(shape) == len(row_shape):
            return array[:, None]
    wanted = ", ".join(str(size) for size in row_shape)
    raise TensorError(f"shape {list(shape)} is not [{wanted}] or [rows, {wanted}]")


def _fits(shape: Tuple[int, ...], wanted: Tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(want in (-1, size) for size, want in zip(shape, wanted))


def image_rows(
    array: np.ndarray[Any, Any], normalized: bool, typed: bool, first_row: int
) -> Tuple[Chunk, Dict[int, str]]:
    """Tell what the numbers of an image tensor mean.

    Args:
        array: [rows, channels, height, width].
        normalized: the client says that the values are as the model takes them.
        typed: the client named a datatype (V2). Integers are then 0..255; where none was named (nested lists of
            V1) a row of nothing but 0 and 1 is taken for 0..1.
        first_row: number of the first row within its request.

    Returns:
        The rows (zeros where a row is at fault), and what is wrong with which row.
    """
    kind = array.dtype.kind
    if kind not in "uif":
        raise TensorError(f"datatype {_name(array)} is not that of an image: send UINT8 or floats")
    if normalized:
        values = np.ascontiguousarray(array, dtype=np.float32)
        return Chunk(PREPROCESSED, values), outside(values, -np.inf, np.inf, first_row, "")
    if kind == "f":
        values = np.ascontiguousarray(array, dtype=np.float32)
        hint = (
            "0..1; send UINT8 for 0..255; for values that are normalised already, the parameter normalized, or on the "
            "server the setting tensors: normalized"
        )
        return Chunk(UNIT, values), outside(values, -_SLACK, 1 + _SLACK, first_row, hint)
    if array.dtype == np.uint8 and typed:
        return Chunk(PIXELS, np.ascontiguousarray(array)), {}
    bad = outside(array, 0, 255, first_row, "0..255")
    if not typed and len(array) == 1 and array.max() <= 1:
        return Chunk(UNIT, np.ascontiguousarray(array, dtype=np.float32)), bad
    return Chunk(PIXELS, array.clip(0, 255).astype(np.uint8)), bad


def list_rows(
    values: List[Any], row_shape: Tuple[int, ...], datatype: str, first_row: int, faults: Dict[int, str]
) -> np.ndarray[Any, Any]:
    """Nested lists of numbers, one item a row, as [rows, *row_shape]; rows at fault are zeros and named in ``faults``.

    All at once where every row is good, which they nearly always are.
    """
    try:
        array = from_lists(values)
        if array.ndim == len(row_shape) + 1 and _fits(array.shape[1:], row_shape):
            return cast(_numbers(array, datatype), datatype, first_row, faults)
    except TensorError:
        pass  # row by row, to say which
    good: Dict[int, np.ndarray[Any, Any]] = {}
    for row, value in enumerate(values):
        try:
            good[row] = _list_row(value, row_shape, datatype, next(iter(good.values()), None))
        except TensorError as error:
            faults[first_row + row] = str(error)
    shape = next((one.shape for one in good.values()), tuple(max(1, size) for size in row_shape))
    rows = np.zeros((len(values), *shape), _DTYPES[datatype])
    for row, one in good.items():
        rows[row] = one
    return rows


def _list_row(
    value: Any, row_shape: Tuple[int, ...], datatype: str, before: Optional[np.ndarray[Any, Any]]
) -> np.ndarray[Any, Any]:
    array = split_rows(from_lists(value), row_shape)
    if len(array) != 1:
        raise TensorError(f"shape {list(array.shape)} is more than one row")
    found: Dict[int, str] = {}
    row: np.ndarray[Any, Any] = cast(_numbers(array, datatype), datatype, 0, found)[0]
    if found:
        raise TensorError(found[0])
    if before is not None and before.shape != row.shape:
        raise TensorError(f"shape {list(row.shape)} is not {list(before.shape)}, as the rows before it have: pad them")
    return row


def _numbers(array: np.ndarray[Any, Any], datatype: str) -> np.ndarray[Any, Any]:
    if array.dtype.kind == "b" and datatype != "BOOL":
        raise TensorError(f"true and false where {datatype} is wanted")
    return array


def from_lists(value: Any) -> np.ndarray[Any, Any]:
    """Nested lists of numbers, or of nothing but true and false, as an array.

    Raises:
        TensorError: ragged, or something in them is neither.
    """
    # First, since one long text would make NumPy give every element as much room.
    if not _only_numbers(value):
        raise TensorError("not numbers in nested lists, or lists of unequal depths")
    try:
        array: np.ndarray[Any, Any] = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise TensorError("nested lists of unequal lengths") from error
    if array.dtype.kind not in "uifb":
        raise TensorError("not numbers in nested lists")
    return array


def _only_numbers(value: Any) -> bool:
    level = [value]
    types = {type(value)}
    while types == {list}:
        level = list(chain.from_iterable(level))
        types = set(map(type, level))
    return types <= {int, float} or types == {bool}


def outside(array: np.ndarray[Any, Any], low: float, high: float, first_row: int, wanted: str) -> Dict[int, str]:
    """The rows with a value that is not a number or not from ``low`` to ``high``."""
    if array.size == 0:
        return {}
    flat = array.reshape(len(array), -1)
    least, most = flat.min(axis=1), flat.max(axis=1)
    finite = np.isfinite(least) & np.isfinite(most)
    good = finite & (least >= low) & (most <= high)
    if good.all():
        return {}
    faults = {}
    for row in np.flatnonzero(~good).tolist():
        if finite[row] and flat.shape[1] == 1:
            faults[first_row + row] = f"value {_shown(least[row])} is not {wanted}"
        elif finite[row]:
            faults[first_row + row] = f"values from {_shown(least[row])} to {_shown(most[row])} are not {wanted}"
        else:
            faults[first_row + row] = "NaN or infinity among the values"
    return faults


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, np.floating) else str(value)


def _name(array: np.ndarray[Any, Any]) -> str:
    return "BOOL" if array.dtype.kind == "b" else str(array.dtype)


_DTYPES: Dict[str, Any] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}


#: What an input of a model may hold.
DATATYPES = tuple(_DTYPES)


def numpy_dtype(datatype: str) -> Any:
    return _DTYPES[datatype]


def text_of(value: Any) -> str:
    """A BYTES value as text.

    Raises:
        TensorError: not text, or bytes that are not UTF-8.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TensorError("not text")
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise TensorError("bytes that are not UTF-8 text") from None


def ragged_rows(
    values: List[Any], row_shape: Tuple[int, ...], datatype: str, first_row: int, faults: Dict[int, str]
) -> List[np.ndarray[Any, Any]]:
    """As :func:`list_rows`, of rows that may differ in shape, one array each."""
    empty = np.zeros([max(1, size) for size in row_shape], _DTYPES[datatype])
    rows = []
    for row, value in enumerate(values):
        try:
            rows.append(_list_row(value, row_shape, datatype, None))
        except TensorError as error:
            faults[first_row + row] = str(error)
            rows.append(empty)
    return rows


def cast(array: np.ndarray[Any, Any], datatype: str, first_row: int, faults: Dict[int, str]) -> np.ndarray[Any, Any]:
    """Numbers [rows, …] as ``datatype``.

    Rows with NaN, infinity or an integer out of range are zeros in the result and named in ``faults``.

    Raises:
        TensorError: the array's datatype never fits: floats for integers, no numbers at all.
    """
    wanted = np.dtype(_DTYPES[datatype])
    if array.dtype.kind == "f" and wanted.kind != "f":
        raise TensorError(f"floats where {datatype} is wanted")
    if array.dtype.kind not in "uifb":
        raise TensorError(f"no numbers of {datatype}")
    if wanted.kind == "f":
        with np.errstate(over="ignore"):
            result = array.astype(wanted, copy=False)
        bad = outside(result, -np.inf, np.inf, first_row, "")
    else:
        low, high = (0, 1) if wanted.kind == "b" else (int(np.iinfo(wanted).min), int(np.iinfo(wanted).max))
        same = array.dtype == wanted or array.dtype.kind == "b"
        bad = {} if same else outside(array, low, high, first_row, f"from {low} to {high}, as {datatype} takes")
        result = array.astype(wanted, copy=False)
    if bad:
        result = result.copy()
        result[[row - first_row for row in bad]] = 0
        for row, fault in bad.items():
            faults.setdefault(row, fault)
    return np.ascontiguousarray(result)
