"""How long a model takes, learned from its latest batches: what a request at the end of the queue can expect."""

from __future__ import annotations

from collections import deque
from typing import Deque, NamedTuple

#: Samples that count.
_LATEST = 8
#: Backlogs up to so many times as long as those seen lately are taken to last as much longer.
_GROWTH = 3


class Sample(NamedTuple):
    """One upstream request that was answered."""

    #: From its departure to its answer.
    seconds: float
    #: Rows under way when it left, its own among them: all of them were answered in that time, or nearly so.
    rows: int
    #: Rows admitted and not answered when it left: those under way and those that waited.
    backlog: int


class ServiceTime:
    """Of one model and one verb. It knows nothing before two upstream requests were answered.

    Estimates err on the fast side, as who is refused in vain loses more than who waits in vain: larger batches cost
    less a row, so what a backlog much longer than those seen lately takes is not foreseen; and the slowest of the
    latest samples is left out, as that may have been the machine.
    """

    def __init__(self) -> None:
        self._latest: Deque[Sample] = deque(maxlen=_LATEST)
        self._row_seconds = 0.0
        #: No backlog is taken to last longer.
        self.most_seconds = 0.0

    def learn(self, sample: Sample) -> None:
        if not sample.rows:
            return
        self._latest.append(sample)
        *counted, _ = sorted(self._latest, key=lambda one: one.seconds / one.rows)
        rows = sum(one.rows for one in counted)
        self._row_seconds = sum(one.seconds for one in counted) / rows if rows else 0.0
        self.most_seconds = self._row_seconds * _GROWTH * max(one.backlog for one in self._latest)

    def seconds(self, backlog: int) -> float:
        """Until the last row of a backlog is answered; 0 while nothing is known.

        Args:
            backlog: rows that wait or are under way.
        """
        return min(backlog * self._row_seconds, self.most_seconds)
