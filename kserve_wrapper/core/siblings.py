"""What the server processes of one wrapper tell each other: whether each of them is ready."""

from __future__ import annotations

import mmap


class Siblings:
    """One byte a process, in memory that processes share when they are forked after its construction.

    Args:
        count: of processes.
    """

    def __init__(self, count: int) -> None:
        self._ready = mmap.mmap(-1, count)
        self._mine = 0

    def join(self, number: int) -> None:
        """Says which process this is, 0 to ``count`` - 1."""
        self._mine = number

    def tell(self, ready: bool) -> None:
        """Whether this process is ready."""
        self._ready[self._mine] = ready

    def ready(self) -> bool:
        """All are, as far as they have told."""
        return b"\0" not in self._ready[:]
