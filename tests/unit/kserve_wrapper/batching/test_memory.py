"""Requests that fail leave nothing behind that only the garbage collector would find: their bodies may be large."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any, Callable, Iterator, List

import pytest

from kserve_wrapper.core.calls import V1Call
from kserve_wrapper.core.errors import BadGateway, InvalidRequest, TooLarge, Unavailable, WrapperError
from tests.unit.kserve_wrapper.batching.fake_model import FakeModel, Rig
from tests.unit.kserve_wrapper.batching.virtual_time import run


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def failing(error: Callable[[], WrapperError]) -> Callable[[int, V1Call], Any]:
    def on_send(index: int, call: V1Call) -> Any:
        raise error()

    return on_send


@pytest.mark.parametrize("requests", [1, 3])
@pytest.mark.parametrize(
    "error",
    [
        lambda: InvalidRequest("row 0: bad", rows={0: "bad"}),
        lambda: TooLarge("too large"),
        lambda: Unavailable("gone"),
        lambda: BadGateway("nonsense"),
    ],
)
def test_failed_calls_are_free_at_once(error: Callable[[], WrapperError], requests: int) -> None:
    async def main() -> None:
        rig = Rig(FakeModel())
        rig.model.on_send = failing(error)
        calls = [V1Call("m", None, False, [{"id": str(i), "bad": False}], {}, {}) for i in range(requests)]
        kept = [weakref.ref(call) for call in calls]
        await send_all(rig, calls, 60.0)
        calls.clear()
        rig.model.sent.clear()
        await asyncio.sleep(0)
        assert [reference() for reference in kept] == [None] * requests

    run(main())


def test_expired_calls_are_free_at_once() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=2.0))
        calls = [V1Call("m", None, False, [{"id": "0", "bad": False}], {}, {})]
        kept = weakref.ref(calls[0])
        await send_all(rig, calls, 1.0)
        calls.clear()
        await asyncio.sleep(2.0)
        rig.model.sent.clear()
        await asyncio.sleep(0)
        assert kept() is None

    run(main())


async def send_all(rig: Rig, calls: List[V1Call], timeout: float) -> None:
    async def one(call: V1Call) -> None:
        with pytest.raises(WrapperError):
            await rig.batcher.submit(call, rig.loop.time() + timeout)

    await asyncio.gather(*[one(call) for call in calls])
