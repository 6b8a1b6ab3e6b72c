"""Which protocol one client speaks: its content says, whatever TS_SERVICE_ENVELOPE does.

* A body with the header ``Inference-Header-Content-Length`` is V2 with binary tensor data.
* A JSON object whose ``inputs`` are objects with a datatype is V2.
* A JSON object with ``instances``, or any other ``inputs``, is V1.
* Anything else is raw: a single row, answered barely. A JSON object must say where its data are.

Bytes and text count as JSON where their content type says so or where they start with ``{``; TorchServe may
have parsed them already.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional, Tuple, Union

from mnist_handler.envelopes import raw, v1, v2
from mnist_handler.envelopes.datatypes import Buffer
from mnist_handler.envelopes.jsoncodec import loads
from mnist_handler.envelopes.worker_context import ResponseWriter, asks_explanation, header_length_of
from mnist_handler.requests import Request, RequestError

_FIELDS = ("data", "body")


class V1Body(NamedTuple):
    document: Mapping[str, Any]


class V2Body(NamedTuple):
    document: Mapping[str, Any]
    #: Binary tensor data; None where the request came without a header length.
    tail: Optional[memoryview] = None


class RawBody(NamedTuple):
    value: Any
    #: The other fields of a form.
    fields: Mapping[str, Any]


Body = Union[V1Body, V2Body, RawBody]


def read_request(item: Mapping[str, Any], headers: Mapping[str, Any]) -> Tuple[ResponseWriter, Request]:
    """One client's request, and how it wants its answer.

    Args:
        item: the body's fields as TorchServe hands them over.
        headers: ``Context.get_all_request_header``.

    Raises:
        RequestError: 400, saying what is wrong and where.
    """
    explain = asks_explanation(headers)
    body = open_body(item, headers)
    try:
        if isinstance(body, V1Body):
            return v1.parse(body.document, explain)
        if isinstance(body, V2Body):
            return v2.parse(body.document, body.tail, explain)
        return raw.parse(body.value, body.fields, explain)
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply") from None


def open_body(item: Mapping[str, Any], headers: Mapping[str, Any]) -> Body:
    """Finds the protocol of one client's body; RequestError 400 where it has none or is broken."""
    value, fields = _take_value(item)
    if isinstance(value, (bytes, bytearray)):
        header_length = header_length_of(headers)
        if header_length is not None:
            return V2Body(*v2.split_body(value, header_length))
    value = _parse(value, _content_type(headers))
    if not isinstance(value, dict):
        return RawBody(bytes(value) if isinstance(value, bytearray) else value, fields)
    if v2.is_v2(value):
        return V2Body(value)
    if "instances" in value or "inputs" in value:
        return V1Body(value)
    if any(key in value for key in v1.DATA_KEYS):
        return RawBody(value, fields)
    raise RequestError(400, 'the JSON object has neither "instances" (V1) nor "inputs" (V1, V2)')


def _take_value(item: Mapping[str, Any]) -> Tuple[Any, Mapping[str, Any]]:
    """The field that holds the data (its value may be empty or zero), and the others."""
    if len(item) == 1:
        name, value = next(iter(item.items()))
        if name.lstrip()[:1] in ("{", "["):
            raise RequestError(400, "the JSON came as a form: send it with Content-Type: application/json")
        return value, {}
    for name in _FIELDS:
        if name in item:
            return item[name], {key: _read_field(field) for key, field in item.items() if key != name}
    if item:
        raise RequestError(400, 'the form has neither a field "data" nor a field "body"')
    raise RequestError(400, "the request has no body")


def _parse(value: Any, content_type: str) -> Any:
    """The JSON value of bytes or text that hold one; anything else as it is."""
    if not isinstance(value, (bytes, bytearray, str)):
        return value
    declared = content_type.partition(";")[0].strip().lower()
    if not _starts_object(value) and declared != "application/json" and not declared.endswith("+json"):
        return value
    try:
        return loads(value)
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise RequestError(400, f"the body is not JSON: {error}") from None


def _starts_object(value: Union[Buffer, str]) -> bool:
    head = value[:64]
    return head.lstrip()[:1] == "{" if isinstance(head, str) else bytes(head).lstrip()[:1] == b"{"


def _content_type(headers: Mapping[str, Any]) -> str:
    """The body's content type, as TorchServe found it."""
    for name in _FIELDS:
        described = headers.get(name)
        if isinstance(described, dict):
            return str(described.get("content-type") or "")
    return ""


def _read_field(value: Any) -> Any:
    """A form's field as a parameter: its JSON value where it is one, else its text."""
    if not isinstance(value, (bytes, bytearray)):
        return value
    try:
        return loads(value)
    except (ValueError, RecursionError):
        return value.decode("utf-8", "replace")
