"""A request as handlers see it, and a response as they return it."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Protocol, Tuple

import orjson

from kserve_wrapper.core.calls import Buffer
from kserve_wrapper.core.errors import InvalidRequest, TooLarge, UnsupportedMedia
from kserve_wrapper.core.trace import accept_id

Headers = List[Tuple[bytes, bytes]]

JSON = b"application/json"
_IDENTITY = (b"", b"identity")


class ClientGone(Exception):
    """The client closed the connection before its request was whole; nobody reads an answer."""


class Channel(Protocol):
    """What a request comes by and its response goes by."""

    #: Nobody reads the response any more.
    lost: bool

    async def receive(self) -> Tuple[bytes, bool]:
        """The next piece of the body, and whether more follows. Raises ClientGone where none will."""
        ...

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Writes the response, whose length the headers tell."""
        ...


class Request:
    """One HTTP request.

    Args:
        channel: see there.
        method: in capitals.
        raw_path: as it came, percent-encoded, without the query.
        headers: names in lower case.
        client: its address.
        max_body: bytes; 0 = any size.
    """

    __slots__ = ("_channel", "_max_body", "client", "headers", "id", "method", "raw_path")

    def __init__(
        self, channel: Channel, method: str, raw_path: bytes, headers: Headers, client: str = "-", max_body: int = 0
    ) -> None:
        self._channel = channel
        self.method = method
        self.raw_path = raw_path
        self.headers: Mapping[bytes, bytes] = dict(headers)
        self.client = client
        self._max_body = max_body
        self.id = accept_id(self.header(b"x-request-id"))

    def header(self, name: bytes) -> Optional[str]:
        """A header's value, or None; ``name`` in lower case."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def is_lost(self) -> bool:
        """The client is gone, as far as the server knows."""
        return self._channel.lost

    def answer(self, response: Response) -> None:
        """Writes the response; one to HEAD keeps its body's length and leaves the body out."""
        self._channel.answer(response.status, response.headers, b"" if self.method == "HEAD" else response.body)

    async def body(self) -> Buffer:
        """The whole body.

        Raises:
            UnsupportedMedia: it is compressed.
            TooLarge: it is beyond the limit; no more of it than the limit is ever held.
            ClientGone: it never arrived.
        """
        self._check_encoding()
        length = self.headers.get(b"content-length")
        if self._max_body and length is not None and int(length) > self._max_body:
            await self._refuse_body(int(length))
        body, more = await self._channel.receive()
        self._check_size(len(body))
        return await self._join_body(body) if more else body

    def _check_encoding(self) -> None:
        if self.headers.get(b"content-encoding", b"") not in _IDENTITY:
            raise UnsupportedMedia("Content-Encoding is not supported: send the body as it is")

    async def _join_body(self, first: bytes) -> Buffer:
        body = bytearray(first)
        more = True
        while more:
            piece, more = await self._channel.receive()
            body += piece
            self._check_size(len(body))
        return body

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
                piece, more = await self._channel.receive()
                unread = unread - len(piece) if more else 0
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


def json_response(content: Any, status: int = 200, headers: Optional[Headers] = None) -> Response:
    return Response(orjson.dumps(content), status, JSON, headers)
