"""uvicorn's HTTP protocol with what it lacks: limits on headers and on slow clients, JSON errors, lost connections."""

from __future__ import annotations

import asyncio
from typing import Any, Dict, Optional, Tuple, Type

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol


class ConnectionWatch:
    """Cancels the task that answers a request when its connection is lost."""

    __slots__ = ("_lost", "_task")

    def __init__(self) -> None:
        self._task: Optional[asyncio.Task[Any]] = None
        self._lost = False

    def cancel_when_lost(self, task: asyncio.Task[Any]) -> None:
        if self._lost:
            task.cancel()
        self._task = task

    def forget(self) -> bool:
        """Ends the watch; True where the connection was lost."""
        self._task = None
        return self._lost

    def lose(self) -> None:
        self._lost = True
        if self._task is not None:
            self._task.cancel()


class LimitedProtocol(HttpToolsProtocol):
    """One connection.

    A request's head may take ``max_header_size`` bytes (else 431), and the whole request ``read_timeout`` seconds
    (else 408), counted from its first byte, or from the connection for the first one; 0 turns a limit off.
    """

    max_header_size = 0
    read_timeout = 0.0

    _watch: ConnectionWatch
    _timer: Optional[asyncio.TimerHandle] = None
    _head_size = 0
    _in_head = True
    _unfinished = False
    _refusal: Tuple[int, str] = (400, "this is not an HTTP request")

    def connection_made(self, transport: Any) -> None:
        self._watch = ConnectionWatch()
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        self._watch.lose()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_size += len(data)
        super().data_received(data)
        if self._in_head and self._too_long():
            self._refuse(431, self._too_long_text())
        elif self._unfinished and self._timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unfinished = True

    def on_headers_complete(self) -> None:
        if self._too_long() and self._exact_head_size() > self.max_header_size:
            self._refusal = (431, self._too_long_text())
            raise ValueError("headers beyond the limit")
        self._in_head = False
        extensions: Dict[str, Any] = {"kserve_wrapper.watch": self._watch}
        self.scope["extensions"] = extensions
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._unfinished = False
        self._in_head = True
        self._head_size = 0
        self._stop_timer()

    def send_400_response(self, msg: str) -> None:
        self._refuse(*self._refusal)

    def _too_long(self) -> bool:
        return 0 < self.max_header_size < self._head_size

    def _too_long_text(self) -> str:
        return f"the headers are larger than the limit of {self.max_header_size} bytes"

    def _exact_head_size(self) -> int:
        """Without the piece of body that came along."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _start_timer(self) -> None:
        if self.read_timeout:
            self._timer = self.loop.call_later(self.read_timeout, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.transport is None or self.transport.is_closing():
            return
        cycle = self.cycle
        answering = cycle is not None and not cycle.response_complete and not cycle.more_body
        if not answering:
            self._refuse(408, f"the request did not arrive within {self.read_timeout:g} seconds")

    def _refuse(self, status: int, message: str) -> None:
        """Answers in the application's stead, where it has not begun to, and closes the connection."""
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = orjson.dumps({"error": message})
            self.transport.write(
                STATUS_LINE[status]
                + b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
                + body
            )
        self.transport.close()


def limited_protocol(max_header_size: int, read_timeout: float) -> Type[LimitedProtocol]:
    """A protocol class with these limits, as uvicorn makes the instances itself."""
    limits = {"max_header_size": max_header_size, "read_timeout": read_timeout}
    return type("LimitedProtocol", (LimitedProtocol,), limits)
