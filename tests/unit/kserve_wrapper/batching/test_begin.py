"""Calls whose outcome is delivered rather than awaited."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any, Callable, List, Tuple

import pytest

from kserve_wrapper.batching.outbox import Outcome
from kserve_wrapper.core.calls import Call, ModelMetadata, V1Call, V1Reply
from kserve_wrapper.core.errors import DeadlineExceeded, InvalidRequest, Unavailable
from tests.unit.kserve_wrapper.batching.fake_model import FakeModel, Rig, answers
from tests.unit.kserve_wrapper.batching.virtual_time import run


def call(*ids: str, bad: bool = False) -> V1Call:
    return V1Call("m", None, False, [{"id": one, "bad": bad} for one in ids])


class Taker:
    """Begins calls and takes their outcomes, with the time that they came at."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.outcomes: List[Tuple[float, Outcome]] = []

    def take(self, outcome: Outcome) -> None:
        self.outcomes.append((self.rig.elapsed, outcome))

    def begin(self, asked: V1Call, timeout: float = 60.0) -> Callable[[], None]:
        return self.rig.coalescer.begin(asked, self.rig.loop.time() + timeout, self.take)


def test_outcomes_come_later_whatever_they_are() -> None:
    async def main() -> None:
        taker = Taker(Rig(FakeModel(delay=0.5)))
        taker.begin(call("a"))
        taker.begin(call("b", bad=True))
        taker.begin(call("c"), timeout=0.25)
        assert taker.outcomes == []
        assert not await taker.rig.coalescer.idle(0.3)
        assert await taker.rig.coalescer.idle(10)
        [(early, late), *others] = taker.outcomes
        assert early == 0.25
        assert isinstance(late, DeadlineExceeded)
        replies = [outcome for _, outcome in others]
        assert V1Reply(answers("a")) in replies
        assert [error.rows for error in replies if isinstance(error, InvalidRequest)] == [{0: "b is bad"}]
        assert len(replies) == 2

    run(main())


class Counting(FakeModel):
    """Knows how often it was called, awaited or not."""

    sends = 0

    def send(self, call: Call, metadata: ModelMetadata, deadline: float) -> Any:
        self.sends += 1
        return super().send(call, metadata, deadline)


def test_the_next_batch_leaves_before_the_last_ones_outcomes_are_delivered() -> None:
    async def main() -> None:
        model = Counting(delay=0.5)
        taker = Taker(Rig(model))
        sends: List[int] = []
        taker.rig.coalescer.begin(call("a"), 60.0 + taker.rig.start, lambda outcome: sends.append(model.sends))
        await asyncio.sleep(0.1)
        taker.begin(call("b"))
        assert await taker.rig.coalescer.idle(10)
        assert sends == [2]

    run(main())


def test_a_cancelled_call_is_not_told_of_its_outcome_even_if_that_is_settled() -> None:
    async def main() -> None:
        taker = Taker(Rig(FakeModel()))
        cancels: List[Callable[[], None]] = []

        def first(outcome: Outcome) -> None:
            taker.take(outcome)
            cancels[0]()

        taker.rig.coalescer.begin(call("a"), taker.rig.start + 60.0, first)
        cancels.append(taker.begin(call("b")))
        cancels.append(taker.begin(call("c")))
        assert await taker.rig.coalescer.idle(10)
        assert [outcome for _, outcome in taker.outcomes] == [V1Reply(answers("a")), V1Reply(answers("c"))]
        assert taker.rig.watch.reasons == ["cancelled"]
        for cancel in cancels:
            cancel()
        assert taker.rig.watch.reasons == ["cancelled"]

    run(main())


def test_who_fails_at_taking_an_outcome_keeps_nobody_from_theirs(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        taker = Taker(Rig(FakeModel()))

        def fail(outcome: Outcome) -> None:
            raise RuntimeError("not taken")

        taker.rig.coalescer.begin(call("a"), taker.rig.start + 60.0, fail)
        taker.begin(call("b"))
        assert await taker.rig.coalescer.idle(10)
        assert [outcome for _, outcome in taker.outcomes] == [V1Reply(answers("b"))]

    run(main())
    assert "not taken" in caplog.text


def test_what_is_not_taken_in_raises_and_leaves_nothing() -> None:
    async def main() -> None:
        taker = Taker(Rig(FakeModel()))
        with pytest.raises(DeadlineExceeded):
            taker.begin(call("a"), timeout=0.0)
        await taker.rig.coalescer.drain(1.0)
        with pytest.raises(Unavailable):
            taker.begin(call("a"))
        assert taker.outcomes == []
        assert await taker.rig.coalescer.idle(0)

    run(main())


@pytest.mark.parametrize("ending", ["answered", "failed", "cancelled", "drained"])
def test_a_call_that_is_over_is_free_at_once(ending: str) -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=0.5))
        taken: List[Any] = []
        asked = call("a", bad=ending == "failed")
        kept = weakref.ref(asked)
        cancel = rig.coalescer.begin(asked, rig.start + 60.0, lambda outcome: taken.append(type(outcome).__name__))
        del asked
        if ending == "cancelled":
            await asyncio.sleep(0.1)
            cancel()
        elif ending == "drained":
            await rig.coalescer.drain(0.1)
        del cancel
        await asyncio.sleep(1.0)
        wanted = {"answered": ["V1Reply"], "failed": ["InvalidRequest"], "cancelled": [], "drained": ["Unavailable"]}
        assert taken == wanted[ending]
        rig.model.sent.clear()
        await asyncio.sleep(0)
        assert kept() is None

    gc.collect()
    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()
