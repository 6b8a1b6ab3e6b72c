"""Whether requests may share a batch, learned from batches that failed although each of their requests was fine."""

from __future__ import annotations

from typing import Optional

#: Seconds for which a first such failure is remembered; each further one doubles it, up to the longest.
FIRST = 60.0
LONGEST = 3600.0


class Trust:
    """Of one model and one kind of request: how many rows may share. Times are of the batcher's clock."""

    def __init__(self) -> None:
        self._rows = 0
        self._until = float("-inf")
        self._period = FIRST

    def rows(self, now: float) -> Optional[int]:
        """The most rows that may share; 0 sends each request alone, None sets no bound."""
        return None if now >= self._until else self._rows

    def lose(self, now: float, rows: int = 0) -> None:
        """No more than ``rows`` may share for a while, and for twice as long the next time.

        After as long a time without a failure as the longest one, it begins anew.
        """
        if now < self._until:
            # The batches that were under way together tell the same.
            self._rows = min(self._rows, rows)
            return
        self._period = FIRST if now >= self._until + LONGEST else min(2 * self._period, LONGEST)
        self._until = now + self._period
        self._rows = rows
