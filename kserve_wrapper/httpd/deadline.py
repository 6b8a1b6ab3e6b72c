"""One deadline that is set anew for each thing waited for."""

from __future__ import annotations

import asyncio
import math
from typing import Callable, Optional


class Deadline:
    """Calls back when what is waited for is late.

    There is one timer, set again only when it goes off: most deadlines are over long before, and cost nothing more than
    a number.

    Args:
        loop: the event loop.
    """

    __slots__ = ("_at", "_late", "_loop", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._at = math.inf
        self._late: Optional[Callable[[], None]] = None
        self._timer: Optional[asyncio.TimerHandle] = None
        self._timer_at = 0.0

    def set(self, seconds: float, late: Callable[[], None]) -> None:
        """Calls ``late`` after so many seconds from now, unless set or cleared before; 0: never."""
        if not seconds:
            self.clear()
            return
        self._late = late
        self._at = self._loop.time() + seconds
        if self._timer is None or self._timer_at > self._at:
            self._start()

    def clear(self) -> None:
        """Nothing is waited for."""
        self._at = math.inf

    def end(self) -> None:
        """Nothing will be waited for any more; the callback is let go, as its owner often holds this."""
        self.clear()
        self._late = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._at
        self._timer = self._loop.call_at(self._at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._at == math.inf or self._late is None:
            return
        if self._loop.time() < self._at:
            self._start()
        else:
            self._at = math.inf
            self._late()
