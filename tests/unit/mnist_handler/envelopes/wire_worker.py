"""TorchServe's side of the wire, with TorchServe's own Context, and strategies for what clients send."""

from __future__ import annotations

import json
import math
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from hypothesis import strategies as st
from ts.context import Context, RequestProcessor

from mnist_handler.envelopes.datatypes import DTYPES, join_elements

Item = Dict[str, Any]
Headers = Dict[str, Any]
JSON_HEADERS: Headers = {"body": {"content-type": "application/json"}, "explain": "False"}


class Sent(NamedTuple):
    """One client's request as the worker gets it."""

    item: Item
    headers: Headers


class Got(NamedTuple):
    """One client's response as TorchServe sends it."""

    status: int
    phrase: Optional[str]
    headers: Dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def make_context(headers: Sequence[Headers]) -> Context:
    manifest = {"model": {"modelName": "archived", "modelVersion": "1.0"}}
    context = Context("registered", "/tmp", manifest, len(headers), None, "0")
    context.request_ids = {idx: f"torchserve-{idx}" for idx in range(len(headers))}
    context.request_processor = [RequestProcessor(dict(one)) for one in headers]
    return context


def ask(envelope: Any, sent: Sequence[Sent]) -> List[Got]:
    """Sends one batch and reads what each client gets."""
    context = make_context([one.headers for one in sent])
    bodies = envelope.handle([one.item for one in sent], context)
    assert len(bodies) == len(sent)
    got = []
    for idx, body in enumerate(bodies):
        status, phrase = context.get_response_status(idx)
        got.append(Got(status, phrase, context.get_response_headers(idx), body))
    return got


def sent_json(document: Any, explain: bool = False, form: str = "bytes") -> Sent:
    """A JSON document as TorchServe hands it over: parsed, or as bytes (``raw_body``, a broken one), or as text."""
    headers = {**JSON_HEADERS, "explain": str(explain)}
    if form == "parsed":
        return Sent({"body": json.loads(json.dumps(document))}, headers)
    text = json.dumps(document)
    if form == "text":
        return Sent({"body": text}, {**headers, "body": {"content-type": "text/plain"}})
    return Sent({"body": bytearray(text.encode())}, {**headers, "body": {"content-type": "application/octet-stream"}})


def sent_binary(document: Any, blobs: Sequence[bytes], explain: bool = False, name: str = "") -> Sent:
    """A V2 request with binary tensor data; ``name`` is how the client spells the header."""
    header = json.dumps(document).encode()
    headers = {
        "body": {"content-type": "application/octet-stream"},
        name or "Inference-Header-Content-Length": str(len(header)),
        "explain": str(explain),
    }
    return Sent({"body": bytearray(b"".join([header, *blobs]))}, headers)


SENT_FORMS = st.sampled_from(["parsed", "bytes", "text"])
SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)
NUMERIC = st.sampled_from(sorted(DTYPES))


@st.composite
def tensors(draw: st.DrawFn, finite: bool = False) -> Tuple[str, np.ndarray[Any, Any]]:
    """A datatype and an array of it; BYTES are an array of objects."""
    datatype = draw(st.sampled_from([*sorted(DTYPES), "BYTES"]))
    shape = draw(SHAPES)
    count = int(np.prod(shape, dtype=np.int64))
    if datatype == "BYTES":
        array = np.empty(count, np.object_)
        array[:] = draw(st.lists(st.text(max_size=6).map(str.encode), min_size=count, max_size=count))
        return datatype, array.reshape(shape)
    elements = draw(st.lists(scalars(datatype, finite), min_size=count, max_size=count))
    return datatype, np.array(elements, DTYPES[datatype]).reshape(shape)


def scalars(datatype: str, finite: bool = False) -> st.SearchStrategy[Any]:
    if datatype == "BOOL":
        return st.booleans()
    dtype = DTYPES[datatype]
    if dtype.kind == "f":
        return st.floats(width=8 * dtype.itemsize, allow_nan=not finite, allow_infinity=not finite)  # type: ignore
    limits = np.iinfo(dtype)
    return st.integers(int(limits.min), int(limits.max))


def to_json(array: np.ndarray[Any, Any]) -> Any:
    """The array as JSON data by the documented rules, written independently of the code under test."""
    return _name(array.tolist())


def _name(value: Any) -> Any:
    if isinstance(value, list):
        return [_name(part) for part in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def to_binary(array: np.ndarray[Any, Any]) -> bytes:
    return join_elements(array.ravel().tolist()) if array.dtype == np.object_ else array.tobytes()


def same(left: Union[List[Any], np.ndarray[Any, Any]], right: np.ndarray[Any, Any]) -> bool:
    """Equal shapes, dtypes and bits (NaN equals NaN)."""
    if not isinstance(left, np.ndarray):
        return right.ndim == 1 and left == right.tolist()
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return bool(np.array_equal(left, right, equal_nan=left.dtype.kind == "f"))
