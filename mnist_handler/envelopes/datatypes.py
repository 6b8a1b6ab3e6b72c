"""The 13 datatypes of the Open Inference Protocol as NumPy dtypes, and BYTES elements in binary form."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Union

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
else:  # NumPy 1.21 cannot subscript it
    Array = np.ndarray
Buffer = Union[bytes, bytearray, memoryview]

#: Little-endian dtype of every datatype whose elements have one size. BYTES is the one without.
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
DATATYPES = (*DTYPES, "BYTES")

_NAMES = {(dtype.kind, dtype.itemsize): name for name, dtype in DTYPES.items()}
_LENGTH = struct.Struct("<I")


def datatype_of(dtype: np.dtype[Any]) -> str:
    """Name of a NumPy dtype of any byte order; text, bytes and objects are BYTES.

    Raises:
        TypeError: the protocol has no datatype for it (complex numbers, dates, long doubles).
    """
    if dtype.kind in "OSU":
        return "BYTES"
    try:
        return _NAMES[dtype.kind, dtype.itemsize]
    except KeyError:
        raise TypeError(f"no datatype of the protocol holds NumPy's {dtype}") from None


def join_elements(elements: Iterable[bytes]) -> bytes:
    """BYTES elements in binary form: each its length as little-endian u32, then its bytes."""
    pack = _LENGTH.pack
    return b"".join([part for element in elements for part in (pack(len(element)), element)])


def split_elements(data: Buffer) -> List[bytes]:
    """The elements of a BYTES tensor in binary form.

    Raises:
        ValueError: a length that passes the end of the data.
    """
    view = memoryview(data)
    size = len(view)
    elements: List[bytes] = []
    start = 0
    while start < size:
        if size - start < _LENGTH.size:
            raise ValueError(f"its data ends within the length of element {len(elements)}")
        end = start + _LENGTH.size + int(_LENGTH.unpack_from(view, start)[0])
        if end > size:
            raise ValueError(f"its data ends within element {len(elements)}")
        elements.append(bytes(view[start + _LENGTH.size : end]))
        start = end
    return elements
