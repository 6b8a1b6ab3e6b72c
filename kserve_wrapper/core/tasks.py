"""Waiting for tasks, and ending them for certain."""

from __future__ import annotations

import asyncio
from typing import Any, Iterable, List, Optional, Set, TypeVar

from kserve_wrapper.core.clocks import RunningClock

T = TypeVar("T")

#: Seconds between two cancellations of a task that has not ended.
_AGAIN = 0.2
#: Seconds between two looks at the clock; twice as many show that this process stood still.
_TICK = 0.05


class UnderWay:
    """Counts what is under way, for whoever waits until nothing is. Used from one event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._over: Optional[asyncio.Event] = None

    def begin(self) -> None:
        self.count += 1

    def end(self) -> None:
        self.count -= 1
        if self._over is not None and not self.count:
            self._over.set()

    async def wait(self, timeout: float) -> bool:
        """Until nothing is under way; False where something still is after ``timeout`` seconds."""
        if self.count:
            self._over = asyncio.Event()
            try:
                await asyncio.wait_for(self._over.wait(), timeout)
            except asyncio.TimeoutError:
                return False
        return True


async def first_ended(tasks: Iterable[asyncio.Future[T]], seconds: float) -> Set[asyncio.Future[T]]:
    """Those that have ended when the first has; none after ``seconds`` in which this process ran.

    Where the machine stands still, or the container at the end of its CPU quota, so does whoever is waited for.
    """
    waiting: List[asyncio.Future[T]] = list(tasks)
    clock = RunningClock(2 * _TICK)
    end = clock() + seconds
    while (left := end - clock()) > 0:
        ended, _ = await asyncio.wait(waiting, timeout=min(_TICK, left), return_when=asyncio.FIRST_COMPLETED)
        if ended:
            return ended
    return set()


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancels tasks and returns when all have ended.

    One cancellation may get lost: until Python 3.12 ``asyncio.wait_for`` swallows it when what it waits for ends in
    the same moment.
    """
    left: Set[asyncio.Future[Any]] = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN)
