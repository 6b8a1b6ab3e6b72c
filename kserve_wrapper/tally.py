"""Counting what happens on each request, and telling Prometheus's client of it now and then.

The client's own ``observe`` and ``inc`` take a lock and walk the buckets, five times a request.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import Any, List

from prometheus_client import Counter, Histogram


class Count:
    """Counts for a counter. Used from one thread."""

    __slots__ = ("_counter", "_new")

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._new = 0

    def inc(self) -> None:
        self._new += 1

    def hand_over(self) -> None:
        """Adds what was counted since the last time."""
        new, self._new = self._new, 0
        if new:
            self._counter.inc(new)


class Tally:
    """Observations for a histogram without further labels. Used from one thread.

    As a context it times a block without ``await``, in seconds.
    """

    __slots__ = ("_bounds", "_counts", "_histogram", "_started", "_sum")

    def __init__(self, histogram: Histogram) -> None:
        # The client has no call for many observations: its parts are used, and a test compares the outcome.
        self._histogram: Any = histogram
        self._bounds: List[float] = list(self._histogram._upper_bounds)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        self._started = 0.0

    def observe(self, amount: float) -> None:
        self._counts[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.observe(time.perf_counter() - self._started)

    def hand_over(self) -> None:
        """Adds what was observed since the last time."""
        for bucket, new in zip(self._histogram._buckets, self._counts):
            if new:
                bucket.inc(new)
        self._histogram._sum.inc(self._sum)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
