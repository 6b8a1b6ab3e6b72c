"""Counting what happens on each request, and telling Prometheus's client of it now and then.

The client's own ``observe`` and ``inc`` take a lock and walk the buckets, five times a request.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from typing import Any, Callable, List, TypeVar

from prometheus_client import Counter, Histogram

T = TypeVar("T")


class Count:
    """Counts for a counter. Used from one thread."""

    __slots__ = ("_counter", "_new")

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._new = 0

    def inc(self) -> None:
        self._new += 1

    def flush(self) -> None:
        """Adds what was counted since the last time."""
        new, self._new = self._new, 0
        if new:
            self._counter.inc(new)


class Tally:
    """Observations for a histogram without further labels. Used from one thread."""

    __slots__ = ("_bounds", "_histogram", "_new", "observe")

    def __init__(self, histogram: Histogram) -> None:
        # The client has no call for many observations: its parts are used, and a test compares the outcome.
        self._histogram: Any = histogram
        self._bounds: List[float] = list(self._histogram._upper_bounds)
        self._new: List[float] = []
        #: Takes an amount. To sort it into its bucket can wait.
        self.observe: Callable[[float], None] = self._new.append

    def time(self, work: Callable[..., T], *given: Any) -> T:
        """What ``work`` returns; observes the seconds that it takes, be it that it raises."""
        started = time.perf_counter()
        try:
            return work(*given)
        finally:
            self.observe(time.perf_counter() - started)

    def flush(self) -> None:
        """Adds what was observed since the last time."""
        amounts = sorted(self._new)
        self._new.clear()
        below = 0
        for bound, bucket in zip(self._bounds, self._histogram._buckets):
            reached = bisect_right(amounts, bound)
            if reached > below:
                bucket.inc(reached - below)
            below = reached
        self._histogram._sum.inc(sum(amounts))
