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
        late: called once for each deadline that passes.
    """

    __slots__ = ("_at", "_late", "_loop", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, late: Callable[[], None]) -> None:
        self._loop = loop
        self._late = late
        self._at = math.inf
        self._timer: Optional[asyncio.TimerHandle] = None
        self._timer_at = 0.0

    def set(self, seconds: float) -> None:
        """Late after so many seconds from now; 0: never."""
        if not seconds:
            self.clear()
            return
        self._at = self._loop.time() + seconds
        if self._timer is None or self._timer_at > self._at:
            self._start()

    def clear(self) -> None:
        """Nothing is waited for."""
        self._at = math.inf

    def end(self) -> None:
        """Nothing will be waited for any more; the callback is let go, as its owner often holds this."""
        self.clear()
        self._late = _nobody
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
        if self._at == math.inf:
            return
        if self._loop.time() < self._at:
            self._start()
        else:
            self._at = math.inf
            self._late()


def _nobody() -> None:
    """Whom an ended deadline calls."""
