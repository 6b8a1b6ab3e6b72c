"""Who has a deadline, nearest first, and one timer for the nearest of all."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Any, Callable, Generic, List, Optional, TypeVar

T = TypeVar("T")

#: Entries of those who have left that are kept, beside as many as there are others, before they are swept out.
_SWEEP = 1024


#: A deadline, the number of its coming, and who has it: None once they have left.
Entry = List[Any]


class Expiry(Generic[T]):
    """Tells of those whose deadline has passed.

    Args:
        loop: the event loop.
        clock: seconds; deadlines are on it.
        expired: told of each, nearest deadline first; they have left by then.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], expired: Callable[[T], None]
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._expired = expired
        self._numbers = itertools.count()
        self._heap: List[Entry] = []
        self._present = 0
        self._timer: Optional[asyncio.TimerHandle] = None
        self._timer_at = 0.0

    def add(self, deadline: float, who: T) -> Entry:
        """Watches a deadline until what is returned is given to ``remove``."""
        entry: Entry = [deadline, next(self._numbers), who]
        heapq.heappush(self._heap, entry)
        self._present += 1
        if len(self._heap) > 2 * self._present + _SWEEP:
            self._heap = [entry for entry in self._heap if entry[2] is not None]
            heapq.heapify(self._heap)
        if self._timer is None or deadline < self._timer_at:
            self._set_timer()
        return entry

    def remove(self, entry: Entry) -> None:
        """Does nothing for those who have left."""
        if entry[2] is not None:
            entry[2] = None
            self._present -= 1

    def present(self) -> List[T]:
        """All who have neither expired nor been removed."""
        return [entry[2] for entry in self._heap if entry[2] is not None]

    def run_due(self) -> None:
        """Tells of all whose deadline has passed by now, for whoever cannot wait for the timer's turn."""
        if self._heap and self._heap[0][0] <= self._clock():
            self._expire()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._heap and self._heap[0][2] is None:
            heapq.heappop(self._heap)
        if self._heap:
            self._timer_at = self._heap[0][0]
            delay = max(0.0, self._timer_at - self._clock())
            self._timer = self._loop.call_later(delay, self._expire)

    def _expire(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            who = entry[2]
            if who is not None:
                self.remove(entry)
                self._expired(who)
        self._set_timer()
