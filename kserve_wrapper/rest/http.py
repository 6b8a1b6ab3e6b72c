"""A request as handlers see it, and a response as they return it."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Dict, List, Mapping, MutableMapping, Optional, Tuple

import orjson

from kserve_wrapper.errors import InvalidRequest, TooLarge, UnsupportedMedia
from kserve_wrapper.trace import PASSED_ON, accept_id, trace_headers
from kserve_wrapper.types import Buffer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = List[Tuple[bytes, bytes]]

JSON = b"application/json"
#: Of the scope's extensions: tells whether the connection is lost.
LOST = "kserve_wrapper.lost"
_IDENTITY = (b"", b"identity")
_TRACE = frozenset(name.encode() for name in PASSED_ON)


class ClientGone(Exception):
    """The client closed the connection before its request was whole; nobody reads an answer."""


class Request:
    """One HTTP request.

    Args:
        scope: ASGI's.
        receive: ASGI's.
        max_body: bytes; 0 = any size.
    """

    __slots__ = ("_max_body", "_receive", "headers", "id", "method", "raw_path", "scope")

    def __init__(self, scope: Scope, receive: Receive, max_body: int = 0) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])
        self.id = accept_id(self.header(b"x-request-id"))
        self._receive = receive
        self._max_body = max_body

    def header(self, name: bytes) -> Optional[str]:
        """A header's value, or None; ``name`` in lower case."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def is_lost(self) -> bool:
        """The client is gone, as far as the server tells: it then cancels the request's task."""
        lost = self.scope.get("extensions", {}).get(LOST)
        return lost is not None and bool(lost())

    def trace(self) -> Dict[str, str]:
        """The headers that travel upstream with the request."""
        if _TRACE.isdisjoint(self.headers):
            return {}
        return trace_headers(lambda name: self.header(name.encode()))

    async def body(self) -> Buffer:
        """The whole body.

        Raises:
            UnsupportedMedia: it is compressed.
            TooLarge: it is beyond the limit; no more of it than the limit is ever held.
            ClientGone: it never arrived.
        """
        if self.headers.get(b"content-encoding", b"") not in _IDENTITY:
            raise UnsupportedMedia("Content-Encoding is not supported: send the body as it is")
        length = self.headers.get(b"content-length")
        if self._max_body and length is not None and int(length) > self._max_body:
            await self._refuse_body(int(length))
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            self._check_size(len(body))
            return body
        return await self._join_body(message)

    async def _join_body(self, message: Message) -> Buffer:
        body = bytearray()
        while True:
            if message["type"] == "http.disconnect":
                raise ClientGone
            body += message.get("body", b"")
            self._check_size(len(body))
            if not message.get("more_body"):
                return body
            message = await self._receive()

    def _check_size(self, size: int) -> None:
        if self._max_body and size > self._max_body:
            raise self._too_large()

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than the limit of {self._max_body} bytes")

    async def _refuse_body(self, length: int) -> None:
        """Raises TooLarge; before that reads what little is left, for clients that send all before they listen."""
        unread = length if b"expect" not in self.headers else 0
        if unread <= 4 * self._max_body:
            while unread > 0:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                unread = unread - len(message.get("body", b"")) if message.get("more_body") else 0
        raise self._too_large()

    async def json(self) -> Dict[str, Any]:
        """The body as a JSON object; an empty body is an empty object. Raises InvalidRequest, and as ``body``."""
        body = await self.body()
        if not body:
            return {}
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"the body is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise InvalidRequest("the body must be a JSON object")
        return content


class Response:
    """One HTTP response; its length is known, so the connection lives on."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, body: bytes, status: int = 200, content_type: bytes = JSON, headers: Optional[Headers] = None
    ) -> None:
        self.body = body
        self.status = status
        self.headers: Headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
        if headers:
            self.headers += headers

    async def send(self, send: Send, head_only: bool = False) -> None:
        """Writes it; ``head_only`` keeps the body's length and leaves the body out."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"" if head_only else self.body})


def json_response(content: Any, status: int = 200, headers: Optional[Headers] = None) -> Response:
    return Response(orjson.dumps(content), status, JSON, headers)
