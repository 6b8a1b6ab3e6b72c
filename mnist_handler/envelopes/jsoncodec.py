"""JSON in and out: orjson where it is installed, the standard library where not, with the same documents.

JSON has no NaN and no infinity. Such a token in a request is refused. In an answer, and in a V2 request's
tensors of floats, they are the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, as in protobuf's JSON
mapping. Bytes within an answer are ``{"b64": "…"}``, as in TensorFlow Serving's REST interface.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any, Dict, Union

import numpy as np

from mnist_handler.envelopes.datatypes import Array

orjson: Any
try:
    import orjson
except ImportError:  # the standard library does, more slowly
    orjson = None

NON_FINITE: Dict[str, float] = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def loads(text: Union[str, bytes, bytearray]) -> Any:
    """Parses a JSON document; of two equal keys the last one counts.

    Raises:
        ValueError: not JSON (or, with orjson, nested more than 1,024 deep).
        RecursionError: nested too deeply for the standard library.
    """
    if orjson is not None:
        return orjson.loads(text)
    decoded = text if isinstance(text, str) else text.decode()
    document = json.loads(decoded, parse_constant=_refuse_constant, parse_float=_read_float)
    if "\\u" in decoded:
        _check_text(document)
    return document


def dumps(document: Any) -> bytes:
    """Writes a JSON document; it may hold NumPy arrays and scalars, bytes, NaN and infinities.

    Raises:
        TypeError: something that has no JSON form.
    """
    if orjson is None:
        return _dumps_plainly(document)
    try:
        text: bytes = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY, default=_to_json)
    except TypeError:  # integers beyond 64 bits, keys that are not text, unpaired surrogates
        return _dumps_plainly(document)
    # orjson writes NaN and infinities as null: where no null stands there was none, which spares a search.
    return _dumps_plainly(document) if b"null" in text else text


def jsonable(array: Array) -> Any:
    """The array in a form that either library writes fast; of the same shape, its values kept."""
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            return _name_non_finite(array.tolist())
        if array.dtype.itemsize == 2:
            array = array.astype(np.float32)
    if orjson is None or array.ndim == 0:
        return array.tolist()
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _dumps_plainly(document: Any) -> bytes:
    try:
        text = json.dumps(document, allow_nan=False, default=_to_json, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_name_non_finite(document), default=_to_json, separators=(",", ":"))
    return text.encode()


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"b64": base64.b64encode(value).decode()}
    raise TypeError(f"an answer holds a {type(value).__name__}, which has no JSON form")


def _name_non_finite(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if math.isnan(number):
            return "NaN"
        if math.isinf(number):
            return "Infinity" if number > 0 else "-Infinity"
        return number
    if isinstance(value, np.ndarray):
        return _name_non_finite(value.tolist())
    if isinstance(value, dict):
        return {key: _name_non_finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_name_non_finite(item) for item in value]
    return value


def _refuse_constant(token: str) -> float:
    raise ValueError(f"{token} is not JSON")


def _read_float(token: str) -> float:
    number = float(token)
    if math.isinf(number):
        raise ValueError(f"{token} is beyond the range of a double")
    return number


def _check_text(document: Any) -> None:
    """Raises ValueError for an unpaired surrogate, which no UTF-8 text can hold."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("it holds an unpaired surrogate") from None
