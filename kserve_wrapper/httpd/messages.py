"""A request as handlers see it, and a response as they return it."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Protocol, Tuple

import orjson

from kserve_wrapper.core.calls import Buffer
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.core.trace import accept_id
from kserve_wrapper.httpd.encoding import inflate, request_coding

Headers = List[Tuple[bytes, bytes]]

JSON = b"application/json"


class ClientGone(Exception):
    """The client closed the connection before its request was whole; nobody reads an answer."""


class Channel(Protocol):
    """What a request comes by and its response goes by."""

    #: Nobody reads the response any more.
    lost: bool
    #: Bytes that a body may have, compressed or not; 0 = any number.
    max_body: int

    async def body(self) -> Buffer:
        """The whole body, once. Raises ClientGone where none will come, or the WrapperError that it is refused by."""
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
        headers: by name in lower case; of ``joined``.
        client: its address.
    """

    __slots__ = ("_channel", "client", "headers", "id", "method", "raw_path")

    def __init__(
        self, channel: Channel, method: str, raw_path: bytes, headers: Mapping[bytes, bytes], client: str = "-"
    ) -> None:
        self._channel = channel
        self.method = method
        self.raw_path = raw_path
        self.headers = headers
        self.client = client
        self.id = accept_id(self.header(b"x-request-id"))

    def header(self, name: bytes) -> Optional[str]:
        """A header's value, or None; ``name`` in lower case."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def announced_size(self) -> int:
        """Bytes of the body by its Content-Length; 0 where it has none."""
        return int(self.headers.get(b"content-length", 0))

    def is_lost(self) -> bool:
        """The client is gone, as far as the server knows."""
        return self._channel.lost

    def answer(self, response: Response) -> None:
        """Writes the response; one to HEAD keeps its body's length and leaves the body out."""
        self._channel.answer(response.status, response.headers, b"" if self.method == "HEAD" else response.body)

    async def body(self) -> Buffer:
        """The whole body, once, inflated if it was compressed.

        Raises:
            UnsupportedMedia, InvalidRequest: it is compressed in another way than it may, or badly.
            TooLarge, Unavailable: it is beyond a limit; no more of it than the limit is ever held.
            ClientGone: it never arrived.
        """
        coding = request_coding(self.headers.get(b"content-encoding"))
        body = await self._channel.body()
        return body if coding is None else inflate(body, coding, self._channel.max_body)

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

    def replace_body(self, body: bytes) -> None:
        """Answers with this body instead."""
        self.body = body
        self.headers = [item for item in self.headers if item[0] != b"content-length"]
        self.headers.append((b"content-length", b"%d" % len(body)))


def json_response(content: Any, status: int = 200, headers: Optional[Headers] = None) -> Response:
    return Response(orjson.dumps(content), status, JSON, headers)


def joined(headers: Headers) -> Dict[bytes, bytes]:
    """By name; several of one name are the list of their values (RFC 9110 section 5.3)."""
    by_name = dict(headers)
    if len(by_name) < len(headers):
        by_name.clear()
        for name, value in headers:
            by_name[name] = by_name[name] + b", " + value if name in by_name else value
    return by_name
