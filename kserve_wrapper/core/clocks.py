"""A clock that stands still while its process does."""

from __future__ import annotations

import time
from typing import Callable


class RunningClock:
    """Seconds on a clock that only this process's running counts for.

    A suspended machine, a frozen container and a stopped process stand still together with whomever they wait for:
    once they go on, nobody was silent for as long as the wall's clock says.

    Args:
        most: seconds between two calls that count, of however many passed; whoever has it calls more often than that.
        monotonic: the clock that goes on.
    """

    def __init__(self, most: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._monotonic = monotonic
        self._called = monotonic()
        self._stood = 0.0

    def __call__(self) -> float:
        now = self._monotonic()
        self._stood += max(0.0, now - self._called - self._most)
        self._called = now
        return now - self._stood
