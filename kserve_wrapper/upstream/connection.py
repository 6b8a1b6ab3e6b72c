"""One HTTP/1.1 connection as its client: one request at a time, kept open in between."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from typing import Awaitable, Dict, List, Optional, Union, cast

import httptools

from kserve_wrapper.core.errors import BadGateway, DeadlineExceeded, TooLarge, Unavailable, WrapperError
from kserve_wrapper.upstream.address import Address

#: Bytes that an answer's status line and headers may have.
HEADER_LIMIT = 65536
#: Whom errors name where clients read them.
MODEL_SERVER = "the model server"


@dataclass(frozen=True)
class Response:
    """``headers`` has lower-case names; of a repeated one the last."""

    status: int
    headers: Dict[str, str]
    body: bytes


class Interrupted(Unavailable):
    """The connection ended before an answer was complete.

    Args:
        answered: bytes of the answer had come.
    """

    def __init__(self, answered: bool, peer: str = MODEL_SERVER) -> None:
        super().__init__(f"{peer} closed the connection before it had answered", 1.0)
        self.answered = answered


class Connection(asyncio.Protocol):
    """Reads one answer for each request; everything unasked for ends the connection.

    Args:
        body_limit: bytes that an answer's body may have; a larger one is TooLarge.
        peer: whom errors name.
    """

    def __init__(self, body_limit: int, peer: str = MODEL_SERVER) -> None:
        self._peer = peer
        self._body_limit = body_limit
        self._transport: Optional[asyncio.Transport] = None
        self._answer: Optional[asyncio.Future[Response]] = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: Dict[str, str] = {}
        self._chunks: List[bytes] = []
        self._body_size = 0
        self._header_size = 0
        self._headers_complete = False
        self._complete = False

    @property
    def usable(self) -> bool:
        """Open, and no request under way."""
        return self._transport is not None and not self._transport.is_closing() and self._answer is None

    def request(self, head: bytes, body: bytes, deadline: float) -> Awaitable[Response]:
        """Sends a request; to be awaited for its answer.

        Args:
            head: request line and headers, the empty line included.
            body: what follows it.
            deadline: on ``time.monotonic``.

        Raises:
            DeadlineExceeded, Interrupted, TooLarge, BadGateway: when awaited, and the connection is closed.
        """
        if self._transport is None or self._transport.is_closing():
            return _interrupted(self._peer)
        loop = asyncio.get_running_loop()
        self._start_message()
        self._answer = loop.create_future()
        timer = loop.call_later(max(0.0, deadline - time.monotonic()), self._expire)
        self._transport.write(head + body if len(body) < HEADER_LIMIT else head)
        if len(body) >= HEADER_LIMIT:
            self._transport.write(body)
        return self._answered(self._answer, timer)

    async def _answered(self, answer: asyncio.Future[Response], timer: asyncio.TimerHandle) -> Response:
        try:
            return await answer
        except BaseException:
            self.close()
            raise
        finally:
            timer.cancel()
            self._answer = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # TCP_NODELAY is asyncio's default.

        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.close()
            return
        if not self._headers_complete:
            self._header_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(BadGateway(f"{self._peer}'s answer is not HTTP"))
            return
        if not self._headers_complete and self._header_size > HEADER_LIMIT:
            self._fail(BadGateway(f"{self._peer}'s answer has too many headers"))

    def connection_lost(self, error: Optional[Exception]) -> None:
        self._transport = None
        if self._ends_with_connection():
            self.on_message_complete()
        self._fail(Interrupted(self._header_size > 0, self._peer))

    # httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        # 1xx is no answer yet.
        self._headers_complete = self._parser.get_status_code() >= 200
        length = self._headers.get("content-length", "")
        if length.isdigit() and int(length) > self._body_limit:
            self._fail_too_large()

    def on_body(self, data: bytes) -> None:
        self._body_size += len(data)
        if self._body_size > self._body_limit:
            self._fail_too_large()
        elif not self._complete:
            self._chunks.append(data)

    def on_message_complete(self) -> None:
        if not self._headers_complete:
            self._headers.clear()
            return
        self._complete = True
        if self._answer is None or self._answer.done():
            return
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._answer.set_result(Response(self._parser.get_status_code(), self._headers, body))
        if not self._parser.should_keep_alive():
            self.close()

    def _start_message(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers = {}
        self._chunks = []
        self._body_size = self._header_size = 0
        self._headers_complete = self._complete = False

    def _ends_with_connection(self) -> bool:
        """An answer that gives no length is complete when the connection ends (RFC 9112, 6.3)."""
        delimited = "content-length" in self._headers or "transfer-encoding" in self._headers
        return self._headers_complete and not self._complete and not delimited

    def _fail_too_large(self) -> None:
        self._fail(TooLarge(f"the model's answer exceeds {self._body_limit} bytes: send fewer rows in one request"))

    def _expire(self) -> None:
        self._fail(DeadlineExceeded(f"{self._peer} did not answer before the request's deadline"))

    def _fail(self, error: Union[WrapperError, Interrupted]) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


async def dial(
    address: Address, tls: Optional[ssl.SSLContext], body_limit: int, peer: str = MODEL_SERVER
) -> Connection:
    """A new connection. Raises OSError where none can be had."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: Connection(body_limit, peer), address.host, address.port, ssl=tls
    )
    return connection


async def _interrupted(peer: str) -> Response:
    raise Interrupted(False, peer)
