"""The 13 datatypes of the Open Inference Protocol, and BF16: JSON lists to row-major little-endian bytes, and back.

NaN and infinity have no JSON form and the protocol has no rule for them. Here, as in protobuf's JSON mapping,
they are the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, in requests and in replies, for FP16, BF16, FP32
and FP64.
"""

from __future__ import annotations

import math
import struct
from itertools import chain
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import orjson

from kserve_wrapper.core.calls import Buffer, Tensor
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.tensors.bfloat16 import narrow, widen

#: NumPy's dtype of each datatype that NumPy has: not BF16, and not BYTES, whose elements have no fixed size.
DTYPES: Dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
#: Google's 16 bits of floating point: Triton's clients send it, the protocol's table has no line for it.
BF16 = "BF16"
DATATYPES = (*DTYPES, BF16, "BYTES")
#: Bytes of one element, BYTES excepted.
ITEM_SIZES: Dict[str, int] = {**{name: dtype.itemsize for name, dtype in DTYPES.items()}, BF16: 2}

FLOATS = frozenset(("FP16", BF16, "FP32", "FP64"))

_NAMES = frozenset(DATATYPES)
_MOST_ELEMENTS = 2**64
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LENGTH = struct.Struct("<I")
_INTEGER = frozenset({int})
_NUMBER = frozenset({int, float})
_BOOLEAN = frozenset({bool})


def encode_elements(
    data: Any, datatype: str, shape: Union[int, Sequence[int]], where: str
) -> Tuple[Tuple[int, ...], bytes]:
    """Turns a JSON tensor's data into bytes.

    Args:
        data: the elements in row-major order, as a flat list or as lists nested to any regular depth. Of BYTES a
            single text stands for a list of that one, and an object for its JSON text.
        datatype: one of `DATATYPES`.
        shape: non-negative; its product is the number of elements. A bare n stands for [n]. BYTES may give -1, [] or
            [-1], as KServe's samples do: the number of elements.
        where: names the tensor in error messages.

    Returns:
        The shape, resolved, and the bytes as ``Tensor.data`` holds them.

    Raises:
        InvalidRequest: unknown datatype, ragged nesting, an element of another type or out of range, or a
            number of elements that is not the shape's product.
    """
    check_datatype(datatype, where)
    elements = _flatten([data] if datatype == "BYTES" and type(data) is str else data, where)
    resolved = _resolve_shape(shape, datatype, len(elements), where)
    if datatype == "BYTES":
        return resolved, _encode_texts(elements, where)
    if datatype == "BOOL":
        return resolved, _encode_booleans(elements, where)
    if datatype in FLOATS:
        return resolved, _encode_floats(elements, datatype, where)
    return resolved, _encode_integers(elements, datatype, where)


def decode_elements(datatype: str, data: Buffer) -> List[Any]:
    """The elements of ``Tensor.data`` as a flat list for JSON.

    BYTES elements become text, by UTF-8. Bytes that are no text are an error rather than some hidden
    encoding: whoever wants them asks for binary data.

    Raises:
        InvalidRequest: a BYTES element that is not UTF-8.
    """
    if datatype == "BYTES":
        try:
            return [element.decode() for element in bytes_elements(data)]
        except UnicodeDecodeError:
            raise InvalidRequest(
                "a BYTES output holds bytes that are not UTF-8 text: ask for it with binary_data=true"
            ) from None
    array = values_of(datatype, data)
    elements: List[Any] = array.tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return [_name_non_finite(element) for element in elements]
    return elements


def json_elements(datatype: str, data: Buffer) -> Any:
    """The elements as orjson writes them fastest and shortest: an array of their own type where JSON can hold it,
    else what `decode_elements` gives.

    Raises:
        InvalidRequest: a BYTES element that is not UTF-8.
    """
    if datatype == "BYTES":
        return decode_elements(datatype, data)
    array = values_of(datatype, data)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return decode_elements(datatype, data)
    return np.require(array, requirements="A")


def values_of(datatype: str, data: Buffer) -> np.ndarray[Any, Any]:
    """A tensor's numbers, flat; BF16 as the FP32 that they are. Not for BYTES."""
    return widen(data) if datatype == BF16 else np.frombuffer(data, DTYPES[datatype])


def check_datatype(datatype: Any, where: str) -> None:
    """Raises InvalidRequest for anything but one of `DATATYPES`."""
    if not isinstance(datatype, str) or datatype not in _NAMES:
        raise InvalidRequest(f"{where}: datatype {datatype!r} is none of {', '.join(DATATYPES)}")


def byte_length(datatype: str, shape: Sequence[int]) -> Optional[int]:
    """Bytes of a tensor, or None where only the data tell: BYTES, or a dimension that is not known (-1)."""
    if datatype == "BYTES" or min(shape, default=0) < 0:
        return None
    return count_elements(shape) * ITEM_SIZES[datatype]


def count_elements(shape: Sequence[int]) -> int:
    """The shape's product; where it is beyond 64 bits, some number that is too.

    A client chooses the shape: the product of many large numbers takes long, and has more digits than Python prints.
    """
    if 0 in shape:
        return 0
    count = 1
    for size in shape:
        count *= size
        if count > _MOST_ELEMENTS:
            break
    return count


def buffer_length(data: Buffer) -> int:
    """Length in bytes (``len`` of a memoryview counts elements)."""
    return data.nbytes if isinstance(data, memoryview) else len(data)


def check_buffer(tensor: Tensor) -> None:
    """Holds a tensor's data against its datatype and shape.

    Raises:
        InvalidRequest: unknown datatype, negative dimension, a size other than the shape's, or for BYTES
            lengths that do not add up.
    """
    where = f"tensor {tensor.name!r}"
    check_datatype(tensor.datatype, where)
    if min(tensor.shape, default=0) < 0:
        raise InvalidRequest(f"{where}: shape {list(tensor.shape)} has a negative dimension")
    size = buffer_length(tensor.data)
    expected = byte_length(tensor.datatype, tensor.shape)
    if expected is None:
        _check_count(count_bytes(tensor.data, where), tensor.shape, where)
    elif size != expected:
        raise InvalidRequest(
            f"{where}: {tensor.datatype} of shape {list(tensor.shape)} is {expected} bytes, not {size}"
        )


def count_bytes(data: Buffer, where: str = "BYTES tensor") -> int:
    """Number of BYTES elements in ``data``; InvalidRequest when the lengths do not add up to its size."""
    size = buffer_length(data)
    position = count = 0
    while position + 4 <= size:
        position += 4 + int(_LENGTH.unpack_from(data, position)[0])
        count += 1
    if position != size:
        index = count - 1 if position > size else count
        raise InvalidRequest(f"{where}: BYTES data ends inside element {index}")
    return count


def bytes_elements(data: Buffer) -> List[bytes]:
    """Splits BYTES data into its elements; InvalidRequest where it does not add up."""
    count_bytes(data)
    view = memoryview(data)
    elements = []
    position = 0
    while position < len(view):
        end = position + 4 + int(_LENGTH.unpack_from(view, position)[0])
        elements.append(bytes(view[position + 4 : end]))
        position = end
    return elements


def join_bytes(elements: Sequence[bytes]) -> bytes:
    """Joins elements to BYTES data: each its length as little-endian u32, then its bytes."""
    pack = _LENGTH.pack
    return b"".join([part for element in elements for part in (pack(len(element)), element)])


def _flatten(data: Any, where: str) -> List[Any]:
    if not isinstance(data, list):
        raise InvalidRequest(f"{where}: data must be a list of elements, nested or flat")
    elements: List[Any] = data
    while elements and isinstance(elements[0], list):
        if set(map(type, elements)) != {list} or len(set(map(len, elements))) != 1:
            raise InvalidRequest(f"{where}: data is nested irregularly: lists of one depth need one length")
        elements = list(chain.from_iterable(elements))
    return elements


def _resolve_shape(shape: Any, datatype: str, count: int, where: str) -> Tuple[int, ...]:
    if datatype == "BYTES" and shape in (-1, [], [-1], (), (-1,)):
        return (count,)
    resolved = (shape,) if type(shape) is int else tuple(shape)
    if any(type(size) is not int or size < 0 for size in resolved):
        raise InvalidRequest(f"{where}: shape {list(resolved)} must hold integers of 0 and above")
    _check_count(count, resolved, where)
    return resolved


def _check_count(count: int, shape: Tuple[int, ...], where: str) -> None:
    if count != count_elements(shape):
        raise InvalidRequest(f"{where}: shape {list(shape)} needs {count_elements(shape)} elements, data has {count}")


def _encode_texts(elements: List[Any], where: str) -> bytes:
    if not set(map(type, elements)) <= {str}:
        # Clients write an object where the handler wants its JSON text: nothing else can be meant.
        elements = [orjson.dumps(e).decode() if type(e) is dict else e for e in elements]
        if not set(map(type, elements)) <= {str}:
            raise _unfit(elements, {str}, "text", where)
    try:
        return join_bytes([element.encode() for element in elements])
    except UnicodeEncodeError:
        raise InvalidRequest(f"{where}: BYTES data holds an unpaired surrogate, which is no text") from None


def _encode_booleans(elements: List[Any], where: str) -> bytes:
    if not set(map(type, elements)) <= _BOOLEAN:
        raise _unfit(elements, _BOOLEAN, "true or false", where)
    return bytes(elements)


def _encode_integers(elements: List[Any], datatype: str, where: str) -> bytes:
    if not set(map(type, elements)) <= _INTEGER:
        raise _unfit(elements, _INTEGER, "an integer", where)
    dtype = DTYPES[datatype]
    limits = np.iinfo(dtype)
    low, high = int(limits.min), int(limits.max)
    if elements and (min(elements) < low or max(elements) > high):
        index = next(i for i, element in enumerate(elements) if not low <= element <= high)
        raise InvalidRequest(f"{where}: element {index} is outside {datatype}'s {low} to {high}")
    return np.array(elements, dtype).tobytes()


def _encode_floats(elements: List[Any], datatype: str, where: str) -> bytes:
    if not set(map(type, elements)) <= _NUMBER:
        elements = [_NON_FINITE.get(e, e) if type(e) is str else e for e in elements]
        if not set(map(type, elements)) <= _NUMBER:
            raise _unfit(elements, _NUMBER, "a number", where)
    dtype = DTYPES["FP32" if datatype == BF16 else datatype]
    try:
        with np.errstate(over="ignore"):
            array = np.array(elements, dtype)
    except OverflowError:
        raise InvalidRequest(f"{where}: data holds a number beyond {datatype}'s range") from None
    if datatype == BF16:
        array = narrow(array)
        _check_overflow(elements, widen(array.data), datatype, where)
        return array.tobytes()
    if not np.isfinite(array).all():
        _check_overflow(elements, array, datatype, where)
    return array.tobytes()


def _check_overflow(elements: List[Any], array: np.ndarray[Any, Any], datatype: str, where: str) -> None:
    for index in np.flatnonzero(~np.isfinite(array)).tolist():
        if math.isfinite(elements[index]):
            raise InvalidRequest(f"{where}: element {index} is beyond {datatype}'s range")


def _name_non_finite(element: float) -> Union[float, str]:
    if math.isnan(element):
        return "NaN"
    if math.isinf(element):
        return "Infinity" if element > 0 else "-Infinity"
    return element


def _unfit(elements: List[Any], types: Any, expected: str, where: str) -> InvalidRequest:
    index = next(i for i, element in enumerate(elements) if type(element) not in types)
    return InvalidRequest(f"{where}: element {index} is not {expected}")
