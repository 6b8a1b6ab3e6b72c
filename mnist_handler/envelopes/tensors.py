"""V2 tensors: JSON or binary data to NumPy arrays and lists of bytes, and a model's outputs to V2 tensors.

Nothing is wrapped, rounded to an integer or guessed: an element of another type or out of range is an error
that names the input and the element. BYTES elements in JSON are text and become its UTF-8 bytes.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import Any, FrozenSet, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from mnist_handler.envelopes.datatypes import DTYPES, Array, Buffer, datatype_of, split_elements
from mnist_handler.envelopes.jsoncodec import NON_FINITE, dumps
from mnist_handler.requests import Output, Ragged

#: NumPy 1 has arrays of at most 32 dimensions.
MAX_DIMENSIONS = 32
_MAX_SIZE = 2**63 - 1
_NUMBERS: FrozenSet[type] = frozenset({float, int})


class OutputTensor(NamedTuple):
    datatype: str
    shape: Tuple[int, ...]
    #: The array as the model gave it, or the elements of a BYTES tensor in row-major order.
    elements: Union[Array, List[bytes]]


def read_shape(shape: Any, datatype: str) -> Optional[Tuple[int, ...]]:
    """A V2 input's shape, or None where BYTES leave it open (-1, [] or [-1], as KServe's older samples do).

    Raises:
        ValueError: no list of at most 32 integers of 0 and above.
    """
    if datatype == "BYTES" and shape in (-1, [], [-1]):
        return None
    if type(shape) is not list or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"its shape must be a list of at most {MAX_DIMENSIONS} integers")
    for size in shape:
        if type(size) is not int or not 0 <= size <= _MAX_SIZE:
            raise ValueError("its shape must hold integers of 0 and above")
    return tuple(shape)


def read_json(data: Any, datatype: str, shape: Optional[Tuple[int, ...]]) -> Union[Array, List[bytes]]:
    """A JSON tensor's elements, nested or flat, row-major.

    Returns:
        An array of the given shape; for BYTES of one dimension a list.

    Raises:
        ValueError: not a regular list, an element of another type or out of range, or a number of elements
            that is not the shape's product.
    """
    elements = _flatten(data)[1]
    _check_count(len(elements), shape)
    if datatype == "BYTES":
        _check_types(elements, frozenset({str}), "text")
        return _shape_bytes([_encode_text(element) for element in elements], shape)
    if datatype == "BOOL":
        _check_types(elements, frozenset({bool}), "true or false")
        array = np.array(elements, np.bool_)
    elif datatype.startswith("FP"):
        array = _read_floats(elements, datatype)
    else:
        array = _read_integers(elements, datatype)
    return _reshape(array, shape or ())


def read_binary(data: Buffer, datatype: str, shape: Optional[Tuple[int, ...]]) -> Union[Array, List[bytes]]:
    """A tensor's elements from its little-endian bytes; numbers share the memory of ``data`` where it is aligned.

    Raises:
        ValueError: a size that is not the shape's, BYTES lengths that do not add up, or a BOOL byte beyond 1.
    """
    if datatype == "BYTES":
        elements = split_elements(data)
        _check_count(len(elements), shape)
        return _shape_bytes(elements, shape)
    dtype = DTYPES[datatype]
    size = math.prod(shape or ()) * dtype.itemsize
    if len(data) != size:
        raise ValueError(f"{datatype} of shape {list(shape or ())} is {size} bytes, not {len(data)}")
    if datatype == "BOOL" and size and np.frombuffer(data, np.uint8).max() > 1:
        raise ValueError("a BOOL byte must be 0 or 1")
    array = np.frombuffer(data, dtype)
    if not array.flags.aligned:  # torch reads only aligned memory
        array = array.copy()
    return _reshape(array, shape or ())


def write_output(output: Output) -> OutputTensor:
    """A model's output as a V2 tensor of its own dtype and shape.

    A list of numbers, booleans or text, nested or not, gets the fitting datatype (INT64, FP64, BOOL, BYTES).
    Rows of any other kind, such as objects, become BYTES with their JSON text, one element a row.

    Raises:
        TypeError: something that has neither a datatype nor a JSON form.
    """
    if isinstance(output, Ragged):
        output = output.values
    array = output if isinstance(output, np.ndarray) else _array_of(output)
    if array is None:
        texts = [row if isinstance(row, (str, bytes)) else dumps(row) for row in output]
        return OutputTensor("BYTES", (len(texts),), [_to_bytes(text) for text in texts])
    datatype = datatype_of(array.dtype)
    if datatype == "BYTES":
        return OutputTensor(datatype, array.shape, [_to_bytes(element) for element in array.ravel().tolist()])
    return OutputTensor(datatype, array.shape, np.ascontiguousarray(array, DTYPES[datatype]))


def _flatten(data: Any) -> Tuple[Tuple[int, ...], List[Any]]:
    """The shape of nested lists and their elements in row-major order; ValueError where they are irregular."""
    if not isinstance(data, list):
        raise ValueError("its data must be a list of elements, nested or flat")
    shape = [len(data)]
    elements: List[Any] = data
    while elements and isinstance(elements[0], list):
        lengths = set(map(len, elements)) if set(map(type, elements)) == {list} else set()
        if len(lengths) != 1:
            raise ValueError("its data is nested irregularly: lists of one depth must have one length")
        shape.append(lengths.pop())
        if len(shape) > MAX_DIMENSIONS:
            raise ValueError(f"its data is nested more than {MAX_DIMENSIONS} deep")
        elements = list(chain.from_iterable(elements))
    return tuple(shape), elements


def _check_count(count: int, shape: Optional[Tuple[int, ...]]) -> None:
    if shape is not None and count != math.prod(shape):
        raise ValueError(f"shape {list(shape)} takes {math.prod(shape)} elements, its data has {count}")


def _check_types(elements: List[Any], types: FrozenSet[type], expected: str) -> None:
    if not types.issuperset(map(type, elements)):
        index = next(i for i, element in enumerate(elements) if type(element) not in types)
        raise ValueError(f"element {index} must be {expected}")


def _read_integers(elements: List[Any], datatype: str) -> Array:
    _check_types(elements, frozenset({int}), f"an integer, as {datatype} takes")
    limits = np.iinfo(DTYPES[datatype])
    low, high = int(limits.min), int(limits.max)
    if elements and (min(elements) < low or max(elements) > high):
        index = next(i for i, element in enumerate(elements) if not low <= element <= high)
        raise ValueError(f"element {index} is beyond {datatype}, which takes {low} to {high}")
    return np.array(elements, DTYPES[datatype])


def _read_floats(elements: List[Any], datatype: str) -> Array:
    named: List[Tuple[int, float]] = []
    if not _NUMBERS.issuperset(map(type, elements)):
        named = [(i, NON_FINITE[e]) for i, e in enumerate(elements) if type(e) is str and e in NON_FINITE]
        elements = [0.0 if type(e) is str and e in NON_FINITE else e for e in elements]
        _check_types(elements, _NUMBERS, f"a number, as {datatype} takes")
    try:
        with np.errstate(over="ignore"):
            array = np.array(elements, np.float64).astype(DTYPES[datatype])
    except OverflowError:
        raise ValueError(f"an element is beyond {datatype}'s range") from None
    if not np.isfinite(array).all():
        index = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f'element {index} is beyond {datatype}\'s range; write "NaN" or "Infinity" as text')
    for index, value in named:
        array[index] = value
    return array


def _reshape(array: Array, shape: Tuple[int, ...]) -> Array:
    try:
        return array.reshape(shape)
    except ValueError:  # no elements, but dimensions beyond NumPy's reach
        raise ValueError(f"its shape {list(shape)} is too large") from None


def _shape_bytes(elements: List[bytes], shape: Optional[Tuple[int, ...]]) -> Union[Array, List[bytes]]:
    if shape is None or len(shape) == 1:
        return elements
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return _reshape(array, shape)


def _encode_text(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("an element holds an unpaired surrogate, which is no text") from None


def _to_bytes(element: Any) -> bytes:
    return element if isinstance(element, bytes) else str(element).encode()


def _array_of(rows: List[Any]) -> Optional[Array]:
    """The rows as one array, or None where they are not numbers, booleans or text of one shape."""
    if rows and isinstance(rows[0], (np.ndarray, np.generic)):
        first = rows[0]
        same = all(type(row) is type(first) and (row.dtype, row.shape) == (first.dtype, first.shape) for row in rows)
        return np.stack(rows) if same else None
    try:
        shape, elements = _flatten(rows)
    except ValueError:
        return None
    types = set(map(type, elements))
    if types <= {str, bytes} and len(shape) > 1:
        return np.array(elements, np.object_).reshape(shape)
    if types == {bool}:
        return np.array(elements, np.bool_).reshape(shape)
    if types == {int} and min(elements) >= -(2**63) and max(elements) < 2**63:
        return np.array(elements, np.int64).reshape(shape)
    if float in types and types <= {int, float}:
        return np.array(elements, np.float64).reshape(shape)
    return None
