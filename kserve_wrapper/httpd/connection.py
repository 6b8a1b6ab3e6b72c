"""One HTTP/1.1 connection of a client: its requests are answered one after the other, within limits.

The parser (``parser.py``) makes requests of bytes; an exchange (``exchange.py``) is one request with its response. Here
is what they have in common: their order, the transport, and one deadline, always for the thing that is waited for now.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import Deque, NamedTuple, Optional, Protocol, Set, Tuple, cast

from kserve_wrapper.core.errors import InternalError, Unavailable, WrapperError
from kserve_wrapper.core.trace import INTERNAL
from kserve_wrapper.httpd.budget import BodyBudget
from kserve_wrapper.httpd.deadline import Deadline
from kserve_wrapper.httpd.errors import RequestTimeout
from kserve_wrapper.httpd.exchange import Exchange
from kserve_wrapper.httpd.messages import Request, Response
from kserve_wrapper.httpd.parser import Head, RequestParser
from kserve_wrapper.httpd.response_head import compose_head

logger = logging.getLogger(__name__)

#: Requests that may wait behind the one that is being answered, before the connection is not read on.
MOST_WAITING = 64
#: Bytes that are parsed at a time: so many may hold some hundred requests more than that.
_PIECE = 16384
#: Seconds that a client has to hear the last answer and to stop sending.
LINGER = 2.0


class Application(Protocol):
    """Answers requests."""

    async def __call__(self, request: Request) -> None:
        """Answers by the request's ``answer``."""
        ...

    def refuse(self, error: WrapperError) -> Response:
        """The answer to what never became a request; asked for once for each that goes over the wire."""
        ...


class ConnectionLimits(NamedTuple):
    """What one connection may take, and how many there may be; 0 turns a limit off."""

    #: Bytes of a request's head. Beyond: 431.
    header_size: int = 0
    #: Bytes of a request's body. Beyond: 413.
    body_size: int = 0
    #: Seconds until the first byte of the first request, and from any request's first byte to its last. Beyond: 408.
    read_timeout: float = 0.0
    #: Seconds without a request, or without the client reading its answer, until the connection is closed.
    keep_alive: float = 0.0
    #: Connections at a time. Beyond: 503.
    connections: int = 0


class Shared:
    """What the connections of one server have in common.

    Args:
        app: answers.
        limits: see there.
        budget: of the bodies that are being read.
    """

    def __init__(self, app: Application, limits: ConnectionLimits, budget: BodyBudget) -> None:
        self.app = app
        self.limits = limits
        self.budget = budget
        self.connections: Set[HttpConnection] = set()


class HttpConnection(asyncio.Protocol):
    """One connection.

    Args:
        shared: see there.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._limits = shared.limits
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser(self, shared.limits.header_size)
        self._deadline = Deadline(self._loop)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._client = "-"
        #: The exchange that is being answered, those that wait for their turn, and the one whose body arrives.
        self._current: Optional[Exchange] = None
        self._waiting: Deque[Tuple[Exchange, Request]] = deque()
        self._arriving: Optional[Exchange] = None
        #: Bytes that came, and are not parsed before fewer requests wait.
        self._held = b""
        self._paused = False
        #: The transport takes no more, as the client does not read.
        self._clogged = False
        #: No further request is taken. Those that came are answered; the last answer may be why.
        self._leaving = False
        self._refusal: Optional[WrapperError] = None
        #: The last answer is written.
        self._ended = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._shared.connections.add(self)
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, (tuple, list)) else "-"
        self._deadline.set(self._limits.read_timeout, self._request_is_late)
        most = self._limits.connections
        if 0 < most < len(self._shared.connections):
            text = f"more than max_connections, {most}, at a time: try again later, and use fewer connections"
            self._refuse(Unavailable(text, retry_after=1))

    def connection_lost(self, error: Optional[Exception]) -> None:
        self._shared.connections.discard(self)
        self._deadline.end()
        self._parser.close()
        for exchange in (self._current, self._arriving, *[exchange for exchange, _ in self._waiting]):
            if exchange is not None:
                exchange.lose()
        self._current = self._arriving = None
        self._waiting.clear()
        self._release()

    def data_received(self, data: bytes) -> None:
        # What follows the last request is passed over.
        if not self._leaving:
            self._parse(data)

    def pause_writing(self) -> None:
        self._clogged = True

    def resume_writing(self) -> None:
        self._clogged = False
        self._go_on()

    def shut_down(self) -> None:
        """Ends the connection when what came over it is answered."""
        if self._arriving is not None:
            self._arriving.keep_alive = False
        else:
            self._leaving = True
        self._go_on()

    def abort(self) -> None:
        """Ends the connection at once."""
        self._transport.abort()

    # what comes

    def _parse(self, data: bytes) -> None:
        try:
            for start in range(0, len(data), _PIECE):
                if len(self._waiting) >= MOST_WAITING:
                    self._hold(data[start:])
                    return
                self._parser.feed(data[start : start + _PIECE])
                if self._leaving:
                    return
        except WrapperError as error:
            self._refuse(error)

    def _hold(self, data: bytes) -> None:
        """Keeps bytes until fewer requests wait. Raises Unavailable where all connections together hold too many."""
        if not self._shared.budget.fits(len(data)):
            raise self._shared.budget.full()
        self._shared.budget.held += len(data)
        self._held = data
        self.pause_reading()

    def _release(self) -> bytes:
        held, self._held = self._held, b""
        self._shared.budget.held -= len(held)
        return held

    def begin(self) -> None:
        """The first byte of a request."""
        if not self._leaving:
            self._deadline.set(self._limits.read_timeout, self._request_is_late)

    def head(self, head: Head) -> None:
        """A request's head: it has its turn now, or waits for it."""
        if self._leaving:
            return
        exchange = Exchange(self, head, self._limits.body_size, self._shared.budget)
        path = head.target.partition(b"?")[0]
        request = Request(exchange, head.method, path, head.headers, self._client)
        self._arriving = exchange
        if self._current is None and not self._clogged:
            self._start(exchange, request)
        else:
            self._waiting.append((exchange, request))
            self.pause_reading()
            # What it takes from here on is no fault of the client's.
            self._deadline.clear()
            self._go_on()

    def body(self, data: bytes) -> None:
        """A piece of a request's body."""
        if self._arriving is not None:
            self._arriving.feed(data)

    def end(self) -> None:
        """The end of a request."""
        exchange, self._arriving = self._arriving, None
        if exchange is None or self._ended:
            return
        exchange.end()
        if not exchange.keep_alive:
            self._leaving = True
        if self._current is not None:
            self._deadline.clear()

    def _request_is_late(self) -> None:
        self._refuse(RequestTimeout(f"the request did not arrive within read_timeout, {self._limits.read_timeout:g} s"))

    def _refuse(self, error: WrapperError) -> None:
        """What comes is not read on: this is the last answer, after those to what came before."""
        if self._leaving:
            return
        self._leaving = True
        self._deadline.clear()
        if self._arriving is not None:
            self._arriving.fail(error)
        else:
            self._refusal = error
        self._go_on()

    # whose turn it is

    def _start(self, exchange: Exchange, request: Request) -> None:
        self._current = exchange
        self._loop.create_task(self._run(exchange, request))

    async def _run(self, exchange: Exchange, request: Request) -> None:
        # Not before it runs: a task that is cancelled earlier tells nobody.
        exchange.task = asyncio.current_task()
        try:
            await self._shared.app(request)
        except Exception:
            logger.exception("the application failed")
        finally:
            if not (exchange.answered or exchange.lost):
                exchange.keep_alive = False
                response = self._shared.app.refuse(InternalError(INTERNAL))
                exchange.answer(response.status, response.headers, response.body)

    def finished(self, exchange: Exchange) -> None:
        """The response is written."""
        self._current = None
        if exchange.keep_alive:
            self._go_on()
        else:
            self._close(linger=not exchange.whole)

    def _go_on(self) -> None:
        """On to the next request, to what was held back, to the end, or to waiting for more."""
        if self._current is not None or self._ended or self._transport.is_closing():
            return
        if self._clogged:
            self._await_reader()
        elif self._waiting:
            self._start(*self._waiting.popleft())
            # It may still arrive, and has its full time for that.
            arrives = self._current is self._arriving
            self._deadline.set(self._limits.read_timeout if arrives else 0, self._request_is_late)
        elif self._refusal is not None:
            self._write_refusal(self._refusal)
        elif self._leaving:
            self._close()
        elif self._held:
            self._parse(self._release())
            self._go_on()
        else:
            self.resume_reading()
            if self._parser.busy:
                self._deadline.set(self._limits.read_timeout, self._request_is_late)
            else:
                self._deadline.set(self._limits.keep_alive, self._close)

    def _write_refusal(self, error: WrapperError) -> None:
        response = self._shared.app.refuse(error)
        headers = [*response.headers, (b"connection", b"close")]
        self._transport.write(compose_head(response.status, headers) + response.body)
        self._close(linger=True)

    # the transport

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

    def _close(self, linger: bool = False) -> None:
        """Closes the connection when all is written.

        Args:
            linger: the client may still send. What comes is read and passed over for a while, as a connection that is
                closed at once may take its last answer from the client (RFC 9112 section 9.6).
        """
        self._leaving = self._ended = True
        if linger and not self._transport.is_closing():
            self.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._deadline.set(LINGER, self._close)
            return
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._await_reader()

    def _await_reader(self) -> None:
        """Lets go of a client that does not read; one that reads, however slowly, is waited for."""
        unread = self._transport.get_write_buffer_size()
        self._deadline.set(self._limits.keep_alive, partial(self._look_at_reader, unread))

    def _look_at_reader(self, before: int) -> None:
        if 0 < before <= self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._await_reader()
