"""A stream of requests to a stream of answers, in order, several under way at once."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncGenerator, AsyncIterator, Awaitable, Callable, Optional

from kserve_wrapper.core import tasks

#: Requests of one stream that are under way at once; further ones are not read.
MOST = 256


async def in_order(requests: AsyncIterator[Any], answer: Callable[[Any], Awaitable[Any]]) -> AsyncGenerator[Any, None]:
    """Begins on each request as soon as it comes, and yields the answers in the requests' order.

    Whoever closes it cancels what is under way.
    """
    under_way: asyncio.Queue[Optional[asyncio.Future[Any]]] = asyncio.Queue()
    room = asyncio.Semaphore(MOST)

    async def read() -> None:
        async for request in requests:
            await room.acquire()
            under_way.put_nowait(asyncio.ensure_future(answer(request)))

    reading = asyncio.ensure_future(read())
    reading.add_done_callback(lambda _: under_way.put_nowait(None))
    try:
        while (following := await under_way.get()) is not None:
            yield await following
            room.release()
        # Raises what ended the requests, if they did not end by themselves.
        await reading
    finally:
        left = [under_way.get_nowait() for _ in range(under_way.qsize())]
        await tasks.end([reading, *[task for task in left if task is not None]])
