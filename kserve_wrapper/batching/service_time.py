"""How fast a model answers, learned from its latest batches: what a request at the end of the line can expect."""

from __future__ import annotations

from collections import deque
from typing import Deque, NamedTuple

#: Upstream requests that count.
_LATEST = 8
#: Lines up to so many times as long as those seen lately are taken to last as much longer.
_GROWTH = 3


class Flight(NamedTuple):
    """One upstream request that was answered."""

    #: From its departure to its answer.
    seconds: float
    #: Under way when it left, its own among them: all of them were answered in that time, or nearly so.
    rows: int
    #: Admitted and not answered when it left: those under way and those that waited.
    line: int


class Pace:
    """Of one model, whatever its requests ask. It knows nothing before two upstream requests were answered.

    Estimates err on the fast side, as who is refused in vain loses more than who waits in vain: larger batches cost
    less a row, so what a line much longer than those seen lately takes is not foreseen; and the slowest of the latest
    is left out, as that may have been the machine.
    """

    def __init__(self) -> None:
        self._latest: Deque[Flight] = deque(maxlen=_LATEST)
        self._row_seconds = 0.0
        #: No line is taken to last longer.
        self.most_seconds = 0.0

    def learn(self, flight: Flight) -> None:
        if not flight.rows:
            return
        self._latest.append(flight)
        *counted, _ = sorted(self._latest, key=lambda one: one.seconds / one.rows)
        rows = sum(one.rows for one in counted)
        self._row_seconds = sum(one.seconds for one in counted) / rows if rows else 0.0
        self.most_seconds = self._row_seconds * _GROWTH * max(one.line for one in self._latest)

    def seconds(self, line: int) -> float:
        """Until the last row of a line is answered; 0 while nothing is known.

        Args:
            line: rows that wait or are under way.
        """
        return min(line * self._row_seconds, self.most_seconds)
