"""How long a model's workers take for a batch, and from that when one of them will want the next."""

from __future__ import annotations

from collections import deque
from typing import Deque, Optional

#: Weight of the newest batch.
_NEWEST = 0.2


class Pace:
    """Follows the batches of one model's workers. Times are seconds on one monotonic clock.

    A batch counts from the moment that a worker could begin it: when it was sent, or, where all workers had one, when
    the first of those was answered.
    """

    def __init__(self) -> None:
        self._seconds: Optional[float] = None
        self._begun: Deque[float] = deque()
        self._ahead = 0

    def sent(self, now: float, workers: int) -> None:
        """A batch went out."""
        if len(self._begun) < workers:
            self._begun.append(now)
        else:
            self._ahead += 1

    def answered(self, now: float) -> None:
        """A batch came back; with several workers, taken to be the oldest."""
        seconds = now - self._begun.popleft()
        self._seconds = seconds if self._seconds is None else self._seconds + _NEWEST * (seconds - self._seconds)
        if self._ahead:
            self._ahead -= 1
            self._begun.append(now)

    def expected(self) -> Optional[float]:
        """When the oldest batch should come back; None before the first one did, and while none is under way."""
        return None if self._seconds is None or not self._begun else self._begun[0] + self._seconds
