"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any, Iterable, Set

#: Seconds between two cancellations of a task that has not ended.
_AGAIN = 0.2


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
