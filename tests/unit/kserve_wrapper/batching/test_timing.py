"""When requests go: at once while idle, together while busy, oldest first, never past their deadline."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import Any, Dict, List, Optional

import pytest

from kserve_wrapper.batching.limits import BatchingLimits
from kserve_wrapper.batching.queue import Waiting
from kserve_wrapper.core.calls import Call, ModelMetadata
from kserve_wrapper.core.errors import DeadlineExceeded, NotFound, QueueFull, Unavailable
from tests.unit.kserve_wrapper.batching.fake_model import OURS, STOCK, FakeModel, Rig, answers
from tests.unit.kserve_wrapper.batching.virtual_time import run


def test_idle_model_is_sent_its_request_at_once() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=0.5))
        assert await rig.submit("a") == answers("a")
        assert rig.model.sent[0][0] == rig.start
        assert rig.elapsed == 0.5

    run(main())


def test_busy_model_collects_and_sends_the_moment_a_slot_frees() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=0.5))
        first = rig.submit("a")
        await asyncio.sleep(0.1)
        later = [rig.submit("b"), rig.submit("c", "d"), rig.submit("e")]
        assert await first == answers("a")
        assert [await task for task in later] == [answers("b"), answers("c", "d"), answers("e")]
        assert rig.model.batches == [["a"], ["b", "c", "d", "e"]]
        assert [when - rig.start for when, _ in rig.model.sent] == [0.0, 0.5]

    run(main())


def test_requests_read_in_one_turn_of_the_loop_share_a_batch() -> None:
    async def main() -> None:
        rig = Rig(FakeModel())
        await asyncio.gather(rig.submit("a"), rig.submit("b"))
        assert rig.model.batches == [["a", "b"]]

    run(main())


class PlainModel(FakeModel):
    """Sends when it is called, not only when it is awaited."""

    def send(self, call: Call, metadata: ModelMetadata, deadline: float, headers: Any = None) -> Any:
        self.started = super().send(call, metadata, deadline, headers or {})
        return asyncio.ensure_future(self.started)


def test_a_batch_is_sent_in_the_turn_of_the_loop_that_makes_it() -> None:
    async def main() -> None:
        model = PlainModel()
        rig = Rig(model)
        task = rig.submit("a")
        await asyncio.sleep(0)  # admitted
        assert not hasattr(model, "started")
        await asyncio.sleep(0)  # made a batch
        assert hasattr(model, "started")
        assert await task == answers("a")

    run(main())


def test_slots_bound_what_is_in_flight() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), BatchingLimits(rows_per_batch=1, pipelining=False), slots=3)
        await asyncio.gather(*[rig.submit(str(i)) for i in range(9)])
        assert rig.model.most_in_flight == 3
        assert rig.elapsed == 3.0

    run(main())


def test_those_who_name_the_default_version_share_its_slots() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), BatchingLimits(pipelining=False))
        tasks = [rig.submit("a"), rig.submit("b", version="1.0"), rig.submit("c", version="2.0")]
        await asyncio.gather(*tasks)
        assert [(when - rig.start, call.version) for when, call in rig.model.sent] == [
            (0.0, None),
            (0.0, "2.0"),
            (1.0, "1.0"),
        ]

    run(main())


def test_a_batch_as_large_as_those_under_way_goes_ahead() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), BatchingLimits())
        tasks = [rig.submit("a"), rig.submit("b")]
        await asyncio.sleep(0.1)
        tasks.append(rig.submit("c"))
        await asyncio.sleep(0.1)
        tasks.append(rig.submit("d"))
        await asyncio.sleep(0.1)
        tasks += [rig.submit("e"), rig.submit("f"), rig.submit("g")]  # one batch is ahead already
        assert await asyncio.gather(*tasks) == [answers(row) for row in "abcdefg"]
        assert rig.model.batches == [["a", "b"], ["c", "d"], ["e", "f", "g"]]
        assert [round(when - rig.start, 6) for when, _ in rig.model.sent] == [0.0, 0.2, 1.0]

    run(main())


def test_what_goes_ahead_leaves_half_of_all_rows_to_the_next() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), BatchingLimits())
        tasks = [rig.submit("a")]
        await asyncio.sleep(0.1)
        tasks += [rig.submit(row) for row in "bcdef"]
        await asyncio.gather(*tasks)
        assert rig.model.batches == [["a"], ["b", "c", "d"], ["e", "f"]]
        # Two rows are less than the three under way: they wait for a slot.
        assert [round(when - rig.start, 6) for when, _ in rig.model.sent] == [0.0, 0.1, 1.1]

    run(main())


def test_idle_workers_share_what_comes_in_one_turn() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), slots=2)
        await asyncio.gather(*[rig.submit(row) for row in "abcde"])
        assert rig.model.batches == [["a", "b", "c"], ["d", "e"]]
        assert rig.elapsed == 1.0

    run(main())


@pytest.mark.parametrize(
    ("limits", "slots", "sizes"),
    [
        (BatchingLimits(in_flight_per_worker=4), 1, [8]),  # a worker has one batch at a time, however many wait for it
        (BatchingLimits(processes=2), 2, [8]),  # the other process may have as many rows for the other worker
        (BatchingLimits(processes=2), 4, [4, 4]),
        (BatchingLimits(), 3, [3, 3, 2]),
    ],
)
def test_shares_are_of_workers(limits: BatchingLimits, slots: int, sizes: List[int]) -> None:
    async def main() -> None:
        rig = Rig(FakeModel(), limits, slots=slots)
        await asyncio.gather(*[rig.submit(str(number)) for number in range(8)])
        assert [len(batch) for batch in rig.model.batches] == sizes

    run(main())


@pytest.mark.parametrize(("queue", "most"), [(8, 4), (11, 5)])
def test_nothing_goes_ahead_that_torchserves_queue_might_not_hold(queue: int, most: int) -> None:
    """Three processes with four workers: beyond the workers' own, 3 x 5 - 4 requests would wait."""

    async def main() -> None:
        rig = Rig(FakeModel(), BatchingLimits(rows_per_batch=1, processes=3, job_queue_size=queue), slots=4)
        await asyncio.gather(*[rig.submit(str(number)) for number in range(20)])
        assert rig.model.most_in_flight == most

    run(main())


def test_a_request_that_shares_with_nobody_goes_ahead_at_once() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0, metadata=STOCK), BatchingLimits())
        tasks = [rig.submit("a1", "a2", "a3")]
        await asyncio.sleep(0.1)
        tasks.append(rig.submit("b", explain=True))  # stock handlers explain with the target of row 0
        await asyncio.gather(*tasks)
        assert [round(when - rig.start, 6) for when, _ in rig.model.sent] == [0.0, 0.1]

    run(main())


@pytest.mark.parametrize("limits", [BatchingLimits(rows_per_batch=2), BatchingLimits(bytes_per_batch=18)])
def test_a_full_batch_goes_ahead_at_once(limits: BatchingLimits) -> None:
    """It would gain nothing by waiting; the one behind it waits for an answer, as one may be ahead."""

    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), limits)
        tasks = [rig.submit("a1", "a2", "a3")]
        await asyncio.sleep(0.1)
        tasks.append(rig.submit("b"))
        await asyncio.sleep(0.1)
        tasks.append(rig.submit("c"))  # fills a batch with b
        await asyncio.sleep(0.1)
        tasks += [rig.submit("d"), rig.submit("e")]
        assert await asyncio.gather(*tasks) == [answers("a1", "a2", "a3"), *[answers(row) for row in "bcde"]]
        assert rig.model.batches == [["a1", "a2", "a3"], ["b", "c"], ["d", "e"]]
        assert [round(when - rig.start, 6) for when, _ in rig.model.sent] == [0.0, 0.2, 1.0]

    run(main())


@pytest.mark.parametrize(("prefers", "heeded", "most"), [(2, True, 2), (None, True, 4), (9, True, 4), (2, False, 4)])
def test_a_handlers_preferred_batch_size_bounds_batches(prefers: Optional[int], heeded: bool, most: int) -> None:
    """It lowers the usual limit and never raises it; a limit that is set wins."""

    async def main() -> None:
        metadata = dataclasses.replace(OURS, preferred_batch_size=prefers)
        limits = BatchingLimits(rows_per_batch=4, preferred_sizes=heeded, pipelining=False)
        rig = Rig(FakeModel(delay=1.0, metadata=metadata), limits)
        first = rig.submit("first")
        await asyncio.sleep(0.1)
        await asyncio.gather(first, *[rig.submit(row) for row in "abcdefgh"])
        assert [len(batch) for batch in rig.model.batches] == [1, *[most] * (8 // most)]

    run(main())


def test_what_was_counted_for_a_batch_may_have_ended() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), BatchingLimits())
        first = rig.submit("a1", "a2", "a3")
        await asyncio.sleep(0.1)
        gone = rig.submit("gone", "too")
        await asyncio.sleep(0.1)
        gone.cancel()
        later = rig.submit("b")
        await asyncio.gather(first, later)
        assert rig.model.batches == [["a1", "a2", "a3"], ["b"]]

    run(main())


def test_workers_that_come_and_go_change_what_is_in_flight() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), BatchingLimits(rows_per_batch=1, pipelining=False))
        tasks = [rig.submit(str(number)) for number in range(12)]
        await asyncio.sleep(0.5)
        assert rig.model.in_flight == 1
        rig.slots = 3
        await asyncio.sleep(1)
        assert rig.model.in_flight == 3
        rig.slots = 1
        await asyncio.sleep(1)
        assert rig.model.in_flight == 1
        rig.slots = 0
        await asyncio.gather(*tasks)
        assert rig.model.batches == [[str(number)] for number in range(12)]

    run(main())


def test_a_new_worker_is_given_what_comes_while_another_is_busy() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=10.0), BatchingLimits(pipelining=False))
        await rig.submit("a")
        tasks = [rig.submit("b")]
        await asyncio.sleep(1)
        tasks.append(rig.submit("c"))
        await asyncio.sleep(1)
        rig.slots = 2
        tasks.append(rig.submit("d"))
        await asyncio.gather(*tasks)
        assert [round(when - rig.start, 6) for when, _ in rig.model.sent] == [0.0, 10.0, 12.0]
        assert rig.model.batches == [["a"], ["b"], ["c", "d"]]

    run(main())


def test_no_ready_worker_counts_as_one_slot() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(), slots=0)
        assert await rig.submit("a") == answers("a")

    run(main())


def test_group_with_the_oldest_request_goes_first() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), BatchingLimits(rows_per_batch=2, pipelining=False))
        tasks = [rig.submit("first")]
        await asyncio.sleep(0.1)
        for row, extra in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a"), ("b2", "b")]:
            tasks.append(rig.submit(row, extra={"parameters": extra}))
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        assert rig.model.batches == [["first"], ["a1", "a2"], ["b1", "b2"], ["a3"]]

    run(main())


def test_rows_are_counted_not_requests() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), BatchingLimits(rows_per_batch=4))
        tasks = [rig.submit("first")]
        await asyncio.sleep(0.1)
        tasks += [rig.submit("a", "b", "c"), rig.submit("d", "e"), rig.submit("f")]
        await asyncio.gather(*tasks)
        assert rig.model.batches[1:] == [["a", "b", "c"], ["d", "e", "f"]]

    run(main())


def test_request_larger_than_a_batch_goes_alone() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), BatchingLimits(rows_per_batch=2))
        tasks = [rig.submit("a", "b", "c"), rig.submit("d")]
        assert await asyncio.gather(*tasks) == [answers("a", "b", "c"), answers("d")]
        assert rig.model.batches == [["a", "b", "c"], ["d"]]

    run(main())


def test_bytes_bound_a_batch() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), BatchingLimits(bytes_per_batch=100))
        await asyncio.gather(*[rig.submit(letter * 40) for letter in "abcd"])
        assert [len(batch) for batch in rig.model.batches] == [2, 2]

    run(main())


def test_waiting_request_expires_on_time_and_is_not_sent() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0))
        first = rig.submit("a")
        await asyncio.sleep(0.1)
        expiring, other = rig.submit("b", timeout=0.3), rig.submit("c")
        with pytest.raises(DeadlineExceeded):
            await expiring
        assert rig.elapsed == 0.4
        assert rig.batcher.waiting.requests == 1
        assert [await first, await other] == [answers("a"), answers("c")]
        assert rig.model.batches == [["a"], ["c"]]

    run(main())


def test_request_in_flight_expires_on_time_and_leaves_its_neighbours() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0))
        expiring, other = rig.submit("a", timeout=0.3), rig.submit("b")
        with pytest.raises(DeadlineExceeded):
            await expiring
        assert rig.elapsed == 0.3
        assert await other == answers("b")
        assert rig.model.batches == [["a", "b"]]

    run(main())


def test_earlier_deadline_of_a_later_request_is_kept() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=9.0))
        tasks = [rig.submit(str(timeout), timeout=timeout) for timeout in (5.0, 3.0, 4.0)]
        ends: Dict[Any, float] = {}
        for task in tasks:
            task.add_done_callback(lambda task: ends.setdefault(task, rig.elapsed))
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        assert [ends[task] for task in tasks] == [5.0, 3.0, 4.0]
        await rig.batcher.drain(10)

    run(main())


def test_deadline_that_has_passed_is_refused_unsent() -> None:
    async def main() -> None:
        rig = Rig(FakeModel())
        with pytest.raises(DeadlineExceeded):
            await rig.submit("a", timeout=0.0)
        assert rig.model.sent == []

    run(main())


def test_cancelled_request_is_not_sent_and_leaves_its_neighbours() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0))
        first = rig.submit("a")
        await asyncio.sleep(0.1)
        cancelled, other = rig.submit("b"), rig.submit("c")
        await asyncio.sleep(0.1)
        cancelled.cancel()
        assert [await first, await other] == [answers("a"), answers("c")]
        assert rig.model.batches == [["a"], ["c"]]
        assert rig.batcher.waiting.rows == 0

    run(main())


def test_cancelled_in_flight_leaves_its_neighbours_and_its_slot_taken() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0))
        cancelled, other = rig.submit("a"), rig.submit("b")
        await asyncio.sleep(0.5)
        cancelled.cancel()
        later = rig.submit("c")
        assert await other == answers("b")
        assert await later == answers("c")
        assert [when - rig.start for when, _ in rig.model.sent] == [0.0, 1.0]

    run(main())


@pytest.mark.parametrize(
    "limits",
    [BatchingLimits(queued_requests=2), BatchingLimits(queued_rows=2), BatchingLimits(queued_bytes=18)],
)
def test_full_queue_refuses_with_retry_after(limits: BatchingLimits) -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), limits)
        first = rig.submit("a")
        await asyncio.sleep(0.1)
        waiting = [rig.submit("b"), rig.submit("c")]
        with pytest.raises(Unavailable) as caught:
            await rig.submit("d")
        assert caught.value.retry_after == limits.retry_after
        assert [await task for task in (first, *waiting)] == [answers("a"), answers("b"), answers("c")]
        assert await rig.submit("e") == answers("e")

    run(main())


@pytest.mark.parametrize(
    ("metadata", "enabled", "batch_size", "most"),
    [
        (OURS, False, None, 4),  # two workers are at it, and as many requests wait for them
        (STOCK, True, None, 4),
        (STOCK, True, 3, 12),
        (STOCK, True, 30, 80),  # what the workers take, and what TorchServe's queue holds
    ],
)
def test_where_nobody_shares_each_goes_alone_as_many_as_torchserve_takes(
    metadata: ModelMetadata, enabled: bool, batch_size: Optional[int], most: int
) -> None:
    async def main() -> None:
        limits = BatchingLimits(enabled=enabled, job_queue_size=20)
        rig = Rig(FakeModel(delay=1.0, metadata=metadata), limits, slots=2, batch_size=batch_size)
        await asyncio.gather(*[rig.submit(str(i)) for i in range(80)])
        assert all(len(batch) == 1 for batch in rig.model.batches)
        assert rig.model.most_in_flight == most

    run(main())


@pytest.mark.parametrize("declared", [False, True])
def test_behind_a_stock_envelope_torchserve_has_nothing_to_batch(declared: bool) -> None:
    """Of the requests that a worker gets together, the envelope answers the first alone."""

    async def main() -> None:
        limits = BatchingLimits(stock_envelope=True, independent_rows=frozenset("m" if declared else ""))
        rig = Rig(FakeModel(delay=1.0, metadata=STOCK), limits, slots=2, batch_size=4)
        tasks = [rig.submit(str(i)) for i in range(5)]
        await asyncio.sleep(0.5)
        await asyncio.gather(*tasks, *[rig.submit(str(i)) for i in range(5)])
        assert rig.model.most_in_flight == 1
        assert len(rig.model.batches) == (2 if declared else 10)

    run(main())


def test_an_idle_model_is_not_refused_for_a_hung_one() -> None:
    async def main() -> None:
        limits = BatchingLimits(queued_requests=8, total_queued_bytes=80, bytes_per_batch=30, pipelining=False)
        rig = Rig(FakeModel(delay=50.0), limits)
        hung = [rig.submit("under way", model="hung")]
        await asyncio.sleep(0.1)
        hung += [rig.submit(letter, model="hung") for letter in "abcdefgh"]
        await asyncio.sleep(0.1)
        outcomes = await asyncio.gather(rig.submit("more", model="hung", timeout=1), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [QueueFull]
        rig.model.delay = 0.1
        # Both are beyond what all models together may have waiting, and within one batch of their own.
        assert await asyncio.gather(rig.submit("x"), rig.submit("y")) == [answers("x"), answers("y")]
        for task in hung:
            task.cancel()
        await asyncio.gather(*hung, return_exceptions=True)
        await rig.batcher.drain(1.0)

    run(main())


@pytest.mark.parametrize("end", ["cancel", "expire"])
def test_what_nobody_waits_for_is_free_at_once(end: str) -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=100.0))
        first = rig.submit("a", timeout=1.0)
        await asyncio.sleep(0.1)
        waiting = [rig.submit(f"{number}", timeout=0.5 if end == "expire" else 50.0) for number in range(10)]
        await asyncio.sleep(0.1)
        assert rig.batcher.waiting.requests == 10
        if end == "cancel":
            for task in waiting:
                task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert rig.batcher.waiting == Waiting()
        [queue] = rig.batcher._queues.values()
        assert not queue._groups
        await asyncio.gather(first, return_exceptions=True)
        await rig.batcher.drain(1.0)

    run(main())


@pytest.mark.parametrize(("model", "size", "room"), [("m", 1, False), ("other", 1, True), ("m2", 10**9, True)])
def test_room_is_told_before_a_body_is_read(model: str, size: int, room: bool) -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0), BatchingLimits(queued_requests=2, pipelining=False))
        tasks = [rig.submit("a")]
        await asyncio.sleep(0.1)
        tasks += [rig.submit("b"), rig.submit("c")]
        await asyncio.sleep(0.1)
        with contextlib.nullcontext() if room else pytest.raises(QueueFull):
            rig.batcher.check_room(model, None, size)
        await asyncio.gather(*tasks)
        rig.batcher.check_room("m", None, size)

    run(main())


def test_models_do_not_wait_for_each_other() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0))
        await asyncio.gather(rig.submit("a"), rig.submit("b", model="other"), rig.submit("c", version="2"))
        assert rig.elapsed == 1.0
        assert len(rig.model.batches) == 3

    run(main())


def test_unknown_model_is_refused_and_leaves_nothing() -> None:
    async def main() -> None:
        rig = Rig(FakeModel())

        def unknown(name: str, version: object) -> ModelMetadata:
            raise NotFound(f"model {name} is not known")

        rig.batcher._metadata = unknown
        with pytest.raises(NotFound):
            await rig.submit("a")
        assert rig.batcher.waiting.requests == 0

    run(main())


def test_drain_finishes_what_is_here_and_refuses_what_is_new() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0))
        tasks = [rig.submit("a")]
        await asyncio.sleep(0.1)
        tasks.append(rig.submit("b"))
        await asyncio.sleep(0.1)
        drained = asyncio.ensure_future(rig.batcher.drain(10))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="shutting down"):
            await rig.submit("c")
        assert [await task for task in tasks] == [answers("a"), answers("b")]
        await drained
        assert rig.elapsed == 2.0

    run(main())


def test_drain_with_a_batch_ahead_and_another_behind_it() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=0.5), BatchingLimits())
        tasks = []
        for row in "abc":
            tasks.append(rig.submit(row))
            await asyncio.sleep(0.1)
        await rig.batcher.drain(10)
        assert await asyncio.gather(*tasks) == [answers(row) for row in "abc"]
        assert [round(when - rig.start, 6) for when, _ in rig.model.sent] == [0.0, 0.1, 0.5]
        assert rig.elapsed == 1.0

    run(main())


def test_drain_in_vain_leaves_nothing_that_sends() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=0.5), BatchingLimits(pipelining=False))
        await rig.submit("a")
        tasks = [rig.submit("b")]
        await asyncio.sleep(0.1)
        tasks.append(rig.submit("c"))
        await asyncio.sleep(0)
        assert not await rig.batcher.drain(0.2)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
        await asyncio.sleep(5)
        assert rig.model.batches == [["a"], ["b"]]

    run(main())


def test_drain_ends_in_time_and_leaves_nobody_waiting() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=50.0))
        tasks = [rig.submit("a")]
        await asyncio.sleep(0.1)
        tasks.append(rig.submit("b"))
        await asyncio.sleep(0)
        assert not await rig.batcher.drain(1.0)
        assert rig.elapsed == 1.1
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]

    run(main())
