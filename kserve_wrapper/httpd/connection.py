"""One HTTP/1.1 connection of a client: requests out of bytes, in order, within limits.

uvicorn listens and hands connections over. Its own protocol costs more (docs/design.md) and lacks limits on headers and
slow clients, errors in JSON and word of lost connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, Deque, NamedTuple, Optional, Protocol, Tuple, cast

import httptools

from kserve_wrapper.core.trace import INTERNAL
from kserve_wrapper.httpd.deadline import Deadline
from kserve_wrapper.httpd.exchange import Exchange, compose_head
from kserve_wrapper.httpd.messages import Headers, Request, json_response

logger = logging.getLogger(__name__)

_NOT_HTTP = (400, "this is not an HTTP request")
#: Requests that may wait behind the one that is being answered.
_MOST_BEHIND = 256
#: Headers that offer another protocol.
_OFFERS = (b"upgrade", b"http2-settings")


class Application(Protocol):
    """Answers requests, by their ``answer``."""

    async def __call__(self, request: Request) -> None: ...


class ConnectionLimits(NamedTuple):
    """What one connection may take; 0 turns a limit off."""

    #: Bytes of a request's head. Beyond: 431.
    header_size: int = 0
    #: Bytes of a request's body. Beyond: 413.
    body_size: int = 0
    #: Seconds for a whole request, from its first byte, or from the connection for the first one. Beyond: 408.
    read_timeout: float = 0.0
    #: Seconds without a request, or without the client reading its answer, until the connection is closed.
    keep_alive: float = 0.0


class HttpConnection(asyncio.Protocol):
    """One connection.

    Args:
        app: answers.
        limits: see there.
        server_state: uvicorn's; knows the open connections.
        others: what else uvicorn tells its protocols.
    """

    def __init__(self, app: Application, limits: ConnectionLimits, *, server_state: Any, **others: Any) -> None:
        self._app = app
        self._limits = limits
        self._server = server_state
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._client = "-"
        #: The exchange that is being answered, those behind it, and the one whose body arrives.
        self._current: Optional[Exchange] = None
        self._behind: Deque[Tuple[Exchange, Request]] = deque()
        self._arriving: Optional[Exchange] = None
        #: The first of these with its request, as long as that may still be whole with the bytes at hand.
        self._fresh: Optional[Tuple[Exchange, Request]] = None
        self._paused = False
        #: The transport holds what the client does not read.
        self._clogged = False
        #: Bytes that it held when it was last looked at.
        self._unread = 0
        self._leaving = False
        self._refused = False
        #: A refusal that waits for the answers before it.
        self._last_word = b""
        self._refusal: Tuple[int, str] = _NOT_HTTP
        # The request that arrives.
        self._url = b""
        self._headers: Headers = []
        self._expects = False
        self._in_head = True
        #: Bytes that came for the head, all of them if ``_counted``: it may begin within a piece of another request.
        self._head_size = 0
        self._counted = True
        #: Bytes since the body last grew.
        self._beside_body = 0
        #: It offered another protocol, and is parsed once more without that.
        self._offered = False
        self._begun = False
        self._timed = False
        self._deadline = Deadline(self._loop, self._late)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, (tuple, list)) else "-"
        self._begun = self._timed = True
        self._deadline.set(self._limits.read_timeout)

    def connection_lost(self, error: Optional[Exception]) -> None:
        self._server.connections.discard(self)
        self._deadline.end()
        self._parser = None
        if self._current is not None:
            self._current.lose()
        self._current = self._arriving = self._fresh = None
        self._behind.clear()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            self._head_size += len(data)
            self._counted = self._counted or not self._begun
        else:
            self._beside_body += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(*self._refusal)
        self._start_fresh()
        if 0 < self._limits.header_size < (self._head_size if self._in_head else self._beside_body):
            self._refuse(*self._too_long())
        elif self._begun and not self._timed:
            self._timed = True
            self._deadline.set(self._limits.read_timeout)

    def _parse(self, data: bytes) -> None:
        """Feeds the parser, which stops at a request that offers another protocol: it goes on without the offer."""
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                self._offered = False
                data = self._without_offer() + data[upgrade.args[0] :]
                self._parser = httptools.HttpRequestParser(self)

    def _without_offer(self) -> bytes:
        """The request's head as it would be from a client that speaks HTTP/1.1 alone."""
        lines = [b"%b %b HTTP/%b" % (self._parser.get_method(), self._url, self._parser.get_http_version().encode())]
        for name, value in self._headers:
            if name == b"connection":
                options = [option.strip() for option in value.split(b",")]
                value = b", ".join([option for option in options if option.lower() not in _OFFERS])
            if name not in _OFFERS:
                lines.append(name + b": " + value)
        return b"\r\n".join([*lines, b"", b""])

    def pause_writing(self) -> None:
        self._clogged = True
        self._unread = self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self._clogged = False
        self._go_on()

    # uvicorn

    def shutdown(self) -> None:
        """Closes the connection when what came over it is answered."""
        self._leaving = True
        if self._current is None and not self._behind:
            self._close()

    # httptools

    def on_message_begin(self) -> None:
        self._begun = True
        self._url = b""
        self._headers = []
        self._expects = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            # A trailer: nothing here has a use for any.
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        limit = self._limits.header_size
        if limit and not (self._counted and self._head_size <= limit) and self._exact_head_size() > limit:
            self._refuse_with(*self._too_long())
        if self._parser.should_upgrade():
            if self._parser.get_method() == b"CONNECT":
                self._refuse_with(400, "this is no proxy: CONNECT is not spoken here")
            self._offered = True
            return
        if len(self._behind) >= _MOST_BEHIND:
            self._refuse_with(429, f"more than {_MOST_BEHIND} requests at once on one connection: wait for answers")
        version = self._parser.get_http_version()
        keep_alive = version != "1.0" and self._parser.should_keep_alive() and not self._leaving
        exchange = Exchange(self, keep_alive, self._expects and version != "1.0")
        request = self._request(exchange)
        self._arriving = exchange
        self._in_head = False
        self._beside_body = 0
        if self._current is None and not self._clogged:
            self._current, self._fresh = exchange, (exchange, request)
        else:
            self._behind.append((exchange, request))
            # What it takes from here on is no fault of the client's.
            self._timed = True
            self._deadline.clear()
            self.pause_reading()

    def on_body(self, body: bytes) -> None:
        self._beside_body = 0
        if self._arriving is not None:
            self._arriving.feed(body)

    def on_message_complete(self) -> None:
        if self._offered:
            return
        if self._arriving is not None:
            self._arriving.end()
            self._arriving = None
        self._begun = self._timed = False
        self._in_head = True
        self._head_size = 0
        self._counted = False
        self._deadline.clear()
        if not self._start_fresh() and self._current is None:
            self._go_on()

    # exchanges

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def pause_reading(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def finished(self, exchange: Exchange) -> None:
        """The response is written: on to the next request, or to waiting for one."""
        self._server.total_requests += 1
        self._current = None
        if exchange.keep_alive:
            self._go_on()
        else:
            self._close()

    def _go_on(self) -> None:
        if self._current is not None or self._transport.is_closing():
            return
        if self._clogged:
            self._deadline.set(self._limits.keep_alive)
        elif self._behind:
            self._deadline.set(self._limits.read_timeout if self._begun else 0)
            exchange, request = self._behind.popleft()
            self._current = exchange
            self._start(exchange, request)
        elif self._leaving:
            self._transport.write(self._last_word)
            self._close()
        else:
            self.resume_reading()
            self._deadline.set(self._limits.read_timeout if self._begun else self._limits.keep_alive)

    def _start_fresh(self) -> bool:
        """False where there is none to start."""
        fresh, self._fresh = self._fresh, None
        if fresh is None:
            return False
        self._start(*fresh)
        return True

    def _start(self, exchange: Exchange, request: Request) -> None:
        exchange.task = self._loop.create_task(self._run(exchange, request))

    async def _run(self, exchange: Exchange, request: Request) -> None:
        try:
            await self._app(request)
        except Exception:
            logger.exception("the application failed")
        finally:
            if not (exchange.answered or exchange.lost or self._transport.is_closing()):
                self._transport.write(_refusal(500, INTERNAL))
                self._close()

    def _request(self, exchange: Exchange) -> Request:
        url = self._url if self._url.startswith(b"/") else _origin_form(self._url)
        if not url.isascii():
            raise ValueError("bytes that no URL has")
        method = self._parser.get_method().decode("ascii")
        path = url.partition(b"?")[0]
        return Request(exchange, method, path, self._headers, self._client, self._limits.body_size)

    # limits

    def _exact_head_size(self) -> int:
        """Without the piece of body that came along."""
        return len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def _too_long(self) -> Tuple[int, str]:
        return 431, f"the headers are larger than the limit of {self._limits.header_size} bytes"

    def _late(self) -> None:
        if self._transport.get_write_buffer_size():
            self._look_at_the_unread()
        elif self._begun and not self._transport.is_closing():
            self._refuse(408, f"the request did not arrive within {self._limits.read_timeout:g} seconds")
        else:
            self._close()

    def _look_at_the_unread(self) -> None:
        """A client that reads, however slowly, is waited for."""
        unread = self._transport.get_write_buffer_size()
        if 0 < self._unread <= unread:
            self._transport.abort()
        else:
            self._unread = unread
            self._deadline.set(self._limits.keep_alive)

    def _close(self) -> None:
        """Closes the connection when all is written; a client that does not read has as long as an idle one."""
        self._transport.close()
        self._unread = self._transport.get_write_buffer_size()
        self._deadline.set(self._limits.keep_alive if self._unread else 0)

    def _refuse_with(self, status: int, message: str) -> None:
        """Ends parsing with this refusal."""
        self._refusal = status, message
        raise ValueError(message)

    def _refuse(self, status: int, message: str) -> None:
        """The last words on this connection, after the answers to what came before."""
        if self._refused or self._transport.is_closing():
            return
        self._refused = True
        self._deadline.clear()
        arriving, self._arriving = self._arriving, None
        word = _refusal(status, message)
        if arriving is not None and self._behind and self._behind[-1][0] is arriving:
            self._behind.pop()
        elif arriving is not None:
            word = b"" if arriving.answered else word
            arriving.lose()
            self._current = self._fresh = None
        self._leaving, self._last_word = True, word
        self._go_on()


def _refusal(status: int, message: str) -> bytes:
    response = json_response({"error": message}, status, [(b"connection", b"close")])
    return compose_head(response.status, response.headers) + response.body


def _origin_form(url: bytes) -> bytes:
    """Path and query of a URL as proxies send it. Raises httptools' error for what is none."""
    parsed = httptools.parse_url(url)
    path: bytes = parsed.path or b"/"
    return path + (b"?" + parsed.query if parsed.query else b"")
