"""Tasks that swallow a cancellation end all the same."""

from __future__ import annotations

import asyncio

import pytest

from kserve_wrapper import tasks


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
