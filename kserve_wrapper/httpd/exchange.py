"""One request and its response on a connection."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Dict, List, Optional, Protocol, Sequence, Tuple

from kserve_wrapper.httpd.messages import ClientGone, Headers

#: Bytes of a body that may wait for the application; beyond, the connection is not read.
HIGH_WATER = 65536

_STATUS_LINES: Dict[int, bytes] = {s: b"HTTP/1.1 %d %s\r\n" % (s, s.phrase.encode()) for s in HTTPStatus}
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
        keep_alive: the client will send further requests.
        expects: it waits for ``100 Continue``.
    """

    __slots__ = (
        "_chunks",
        "_expects",
        "_received",
        "_size",
        "_waiting",
        "_wire",
        "answered",
        "keep_alive",
        "lost",
        "task",
        "whole",
    )

    def __init__(self, wire: Wire, keep_alive: bool, expects: bool) -> None:
        self.keep_alive = keep_alive
        #: The request has arrived to its end.
        self.whole = False
        #: The response has been written.
        self.answered = False
        #: Nobody reads the response any more.
        self.lost = False
        #: The work on the response, until that is written.
        self.task: Optional[asyncio.Task[None]] = None
        self._wire = wire
        self._expects = expects
        self._chunks: List[bytes] = []
        self._size = 0
        self._received = False
        self._waiting: Optional[asyncio.Future[None]] = None

    def feed(self, data: bytes) -> None:
        """A piece of the body came."""
        if self.answered:
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER:
            self._wire.pause_reading()
        self._wake()

    def end(self) -> None:
        """The body is complete."""
        self.whole = True
        self._wake()

    def lose(self) -> None:
        """The connection is gone: calls off the work on the response, unless that is written."""
        self.lost = True
        self._wake()
        task, self.task = self.task, None
        if task is not None:
            task.cancel()

    async def receive(self) -> Tuple[bytes, bool]:
        """What has come of the body, and whether more follows. Raises ClientGone where none will."""
        if self._expects and not self.whole:
            self._expects = False
            self._wire.write(_CONTINUE)
        while not (self.lost or self.answered or self._chunks or (self.whole and not self._received)):
            self._wire.resume_reading()
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        if self.lost or self.answered:
            raise ClientGone
        chunks, self._chunks, self._size = self._chunks, [], 0
        self._received = self.whole
        return chunks[0] if len(chunks) == 1 else b"".join(chunks), not self.whole

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Writes the response, whose length the headers tell; once, and to nobody who is gone."""
        if self.answered or self.lost:
            return
        if self._expects and not self.whole:
            # Whether the body comes all the same is for the client to decide: what follows could be either.
            self.keep_alive = False
        if _CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers = [*headers, _CLOSE]
        self._wire.write(compose_head(status, headers) + body)
        self.answered = True
        self.task = None
        self._wire.finished(self)

    def _wake(self) -> None:
        if self._waiting is not None:
            if not self._waiting.done():
                self._waiting.set_result(None)
            self._waiting = None


def compose_head(status: int, headers: Sequence[Tuple[bytes, bytes]]) -> bytes:
    """A response's head. Raises ValueError for a header that would be more than one line."""
    pieces = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
    for name, value in headers:
        pieces += (name, b": ", value, b"\r\n")
    pieces.append(b"\r\n")
    head = b"".join(pieces)
    lines = len(headers) + 2
    if head.count(b"\n") != lines or head.count(b"\r") != lines:
        raise ValueError(f"a header holds a line break: {headers}")
    return head
