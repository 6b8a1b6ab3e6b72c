"""CloudEvents 1.0 over HTTP around inference requests, as KServe's servers take them and answer them.

Binary: the attributes are headers ``ce-…`` and the body is the request. Structured: the body is a JSON object with the
attributes, and the request under ``data`` (or ``data_base64``). The answer has the request's form, a new id, the type
``io.kserve.inference.response`` and the source ``io.kserve.inference.MODEL``.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from datetime import datetime, timezone
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

import orjson

from kserve_wrapper.core.calls import Buffer
from kserve_wrapper.core.errors import InvalidRequest

_VERSION = b"ce-specversion"
_STRUCTURED = b"application/cloudevents"
STRUCTURED_JSON = b"application/cloudevents+json"
_JSON = b"application/json"
_REQUIRED = ("specversion", "id", "source", "type")
_TYPE = "io.kserve.inference.response"


class Form(NamedTuple):
    """How a request came as an event, and so how its answer goes."""

    structured: bool

    def open(self, headers: Mapping[bytes, bytes], body: Buffer) -> Buffer:
        """The request within the event. Raises InvalidRequest for one that lacks an attribute, or that has no data."""
        if self.structured:
            return _open_structured(headers[b"content-type"], body)
        _check({name: headers.get(b"ce-" + name.encode(), b"").decode("latin-1") for name in _REQUIRED})
        return body

    def answer(self, model: str, content_type: bytes, body: bytes) -> Tuple[bytes, bytes, List[Tuple[bytes, bytes]]]:
        """Body, content type and further headers of the event with an answer."""
        attributes = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": f"io.kserve.inference.{model}",
            "type": _TYPE,
            "time": datetime.now(timezone.utc).isoformat(),
        }
        if not self.structured:
            return body, content_type, [(b"ce-" + k.encode(), _header(v)) for k, v in attributes.items()]
        event: Dict[str, Any] = {**attributes, "datacontenttype": content_type.decode()}
        if content_type == _JSON:
            event["data"] = orjson.loads(body)
        else:
            event["data_base64"] = base64.b64encode(body).decode()
        return orjson.dumps(event), STRUCTURED_JSON, []


_BINARY, _AS_JSON = Form(False), Form(True)


def form_of(headers: Mapping[bytes, bytes]) -> Optional[Form]:
    """The form of a request that is an event; None for any other. ``headers`` has lower-case names."""
    if _VERSION in headers:
        return _BINARY
    return _AS_JSON if headers.get(b"content-type", b"").lower().startswith(_STRUCTURED) else None


def _open_structured(content_type: bytes, body: Buffer) -> Buffer:
    if content_type.partition(b";")[0].strip().lower() != STRUCTURED_JSON:
        raise InvalidRequest("of structured CloudEvents, application/cloudevents+json alone is read: one event as JSON")
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the CloudEvent is not JSON: {error}") from None
    if not isinstance(event, dict):
        raise InvalidRequest("the CloudEvent must be a JSON object")
    _check(event)
    if "data_base64" in event:
        try:
            return base64.b64decode(event["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise InvalidRequest("the CloudEvent's data_base64 is not base64") from None
    if "data" not in event:
        raise InvalidRequest("the CloudEvent has no data: the request belongs there")
    data = event["data"]
    # Some senders put the request's JSON text there.
    return data.encode("utf-8", "replace") if isinstance(data, str) else orjson.dumps(data)


def _check(attributes: Mapping[str, Any]) -> None:
    for name in _REQUIRED:
        value = attributes.get(name)
        if not isinstance(value, str) or not value:
            raise InvalidRequest(f"the CloudEvent has no {name}: specversion, id, source and type are required")
    if attributes["specversion"] not in ("1.0", "0.3"):
        raise InvalidRequest(f"the CloudEvent's specversion {attributes['specversion']!r} is not 1.0")


def _header(value: str) -> bytes:
    """A header's value: what is beyond ASCII is percent-encoded, as CloudEvents' HTTP binding has it."""
    return "".join([c if "!" <= c <= "~" and c not in '"%' else _escaped(c) for c in value]).encode()


def _escaped(character: str) -> str:
    return "".join([f"%{byte:02X}" for byte in character.encode("utf-8", "replace")])
