"""Tasks that swallow a cancellation end all the same; time in which nothing runs is no time to wait for one."""

from __future__ import annotations

import asyncio
import time

import pytest

from kserve_wrapper.core import tasks


@pytest.mark.parametrize("swallowed", [0, 1, 3])
def test_a_lost_cancellation_is_repeated(swallowed: int) -> None:
    cancelled = []

    async def stubborn() -> None:
        while len(cancelled) <= swallowed:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.append(1)

    async def main() -> None:
        task = asyncio.ensure_future(stubborn())
        await asyncio.sleep(0)
        await tasks.end([task, asyncio.ensure_future(asyncio.sleep(3600))])
        assert task.done()

    asyncio.run(main())
    assert len(cancelled) == swallowed + 1


def test_nothing_to_end() -> None:
    asyncio.run(tasks.end([]))


def test_the_first_that_ends_is_enough() -> None:
    async def main() -> None:
        slow, quick = asyncio.ensure_future(asyncio.sleep(3600)), asyncio.ensure_future(asyncio.sleep(0.12))
        assert await tasks.first_ended([slow, quick], 3600) == {quick}
        assert await tasks.first_ended([slow], 0.12) == set()
        await tasks.end([slow])

    asyncio.run(main())


def test_time_in_which_this_process_stands_still_does_not_count() -> None:
    async def main() -> None:
        task = asyncio.ensure_future(asyncio.sleep(1.1))
        asyncio.get_running_loop().call_later(0.01, time.sleep, 1.0)
        assert await tasks.first_ended([task], 0.5) == {task}

    asyncio.run(main())
