"""How long a model's workers take for a batch, and from that when one of them will want the next."""

from __future__ import annotations

from collections import deque
from typing import Deque, Dict, Hashable, List, Optional, Tuple

#: Weight of the newest batch.
_NEWEST = 0.2


class Pace:
    """Follows the batches of one model's workers. Times are seconds on one monotonic clock.

    A batch counts from the moment that a worker could begin it: when it was sent, or, where all workers had one, when
    the first of those was answered. Batches of one kind (predictions, explanations) are taken to be alike.
    """

    def __init__(self) -> None:
        self._seconds: Dict[Hashable, float] = {}
        self._begun: List[Tuple[float, Hashable]] = []
        self._ahead: Deque[Hashable] = deque()

    def sent(self, now: float, workers: int, kind: Hashable) -> None:
        """A batch went out."""
        if len(self._begun) < workers:
            self._begun.append((now, kind))
        else:
            self._ahead.append(kind)

    def answered(self, now: float, kind: Hashable, typical: bool) -> None:
        """A batch came back; of several of its kind, taken to be the oldest.

        Args:
            typical: it succeeded at the first try; what failed or was sent again says nothing of the next.
        """
        place = next((place for place, (_, other) in enumerate(self._begun) if other == kind), None)
        if place is None:
            self._ahead.remove(kind)
            return
        begun, _ = self._begun.pop(place)
        if typical:
            seconds = now - begun
            known = self._seconds.get(kind, seconds)
            self._seconds[kind] = known + _NEWEST * (seconds - known)
        if self._ahead:
            self._begun.append((now, self._ahead.popleft()))

    def expected(self) -> Optional[float]:
        """When the first batch should come back; None where nothing is known of those under way, if any are."""
        return min((begun + self._seconds[kind] for begun, kind in self._begun if kind in self._seconds), default=None)
