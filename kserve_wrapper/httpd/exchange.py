"""One request and its response on a connection."""

from __future__ import annotations

import asyncio
from typing import Optional, Protocol, Union

from kserve_wrapper.core.calls import Buffer
from kserve_wrapper.core.errors import TooLarge, WrapperError
from kserve_wrapper.httpd.budget import BodyBudget
from kserve_wrapper.httpd.messages import ClientGone, Headers
from kserve_wrapper.httpd.parser import Head
from kserve_wrapper.httpd.response_head import compose_head

#: Bytes of a body that may come before the application asks for it; beyond, the connection is not read.
HIGH_WATER = 65536

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = (b"connection", b"close")


class Wire(Protocol):
    """The connection, as its exchanges use it."""

    def write(self, data: bytes) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def finished(self, exchange: Exchange) -> None:
        """The response is complete."""
        ...


class Exchange:
    """One request and its response.

    Args:
        wire: where the response goes.
        head: of the request.
        max_body: bytes of a body; 0 = any number.
        budget: counts the body until the application takes it.
    """

    __slots__ = (
        "_body",
        "_budget",
        "_error",
        "_expects",
        "_waiting",
        "_wanted",
        "_wire",
        "answered",
        "keep_alive",
        "lost",
        "max_body",
        "task",
        "whole",
    )

    def __init__(self, wire: Wire, head: Head, max_body: int, budget: BodyBudget) -> None:
        self.keep_alive = head.keep_alive
        #: The request has arrived to its end.
        self.whole = False
        #: The response has been written.
        self.answered = False
        #: Nobody reads the response any more.
        self.lost = False
        #: The work on the response, until that is written.
        self.task: Optional[asyncio.Task[None]] = None
        self._wire = wire
        self.max_body = max_body
        self._budget = budget
        #: The client waits for ``100 Continue``.
        self._expects = head.expects
        self._body: Union[bytes, bytearray] = b""
        #: Why there will be no body.
        self._error: Optional[WrapperError] = None
        #: The application waits for the body, by this future if it is not all there.
        self._wanted = False
        self._waiting: Optional[asyncio.Future[None]] = None
        if head.length:
            self._fits(head.length, head.length)

    def feed(self, data: bytes) -> None:
        """A piece of the body came."""
        size = len(self._body) + len(data)
        if self.answered or self._error is not None or not self._fits(size, len(data)):
            return
        self._budget.held += len(data)
        if not self._body:
            self._body = data
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data
        if size > HIGH_WATER and not self._wanted:
            self._wire.pause_reading()

    def end(self) -> None:
        """The body is complete."""
        self.whole = True
        self._wake()

    def fail(self, error: WrapperError) -> None:
        """There will be no body: who asks for it gets this error, and the answer is the connection's last."""
        self._error = error
        self.keep_alive = False
        self._drop()
        self._wake()

    def lose(self) -> None:
        """The connection is gone: calls off the work on the response, unless that is written, or not begun."""
        self.lost = True
        self._drop()
        task, self.task = self.task, None
        if task is not None:
            task.cancel()

    async def body(self) -> Buffer:
        """The whole body, once. Raises ClientGone where there is none to come, or why it is refused."""
        self._wanted = True
        if not (self.whole or self.lost or self._error is not None):
            if self._expects:
                self._expects = False
                self._wire.write(_CONTINUE)
            self._wire.resume_reading()
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        if self._error is not None:
            raise self._error
        if self.lost:
            raise ClientGone
        body = self._body
        self._drop()
        return body

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Writes the response, whose length the headers tell; once, and to nobody who is gone.

        Where the request has not arrived to its end, the rest is not waited for: the connection ends with this.
        """
        if self.answered or self.lost:
            return
        if _CLOSE in headers or not self.whole:
            self.keep_alive = False
        if not self.keep_alive and _CLOSE not in headers:
            headers = [*headers, _CLOSE]
        self._wire.write(compose_head(status, headers) + body)
        self.answered = True
        self.task = None
        self._drop()
        self._wire.finished(self)

    def _fits(self, size: int, more: int) -> bool:
        """Whether a body of this size, ``more`` bytes of it new, is within the limits; fails where it is not."""
        if 0 < self.max_body < size:
            self.fail(TooLarge(f"the body is larger than max_body_size, {self.max_body} bytes"))
        elif not self._budget.fits(more):
            self.fail(self._budget.full())
        return self._error is None

    def _drop(self) -> None:
        self._budget.held -= len(self._body)
        self._body = b""

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
