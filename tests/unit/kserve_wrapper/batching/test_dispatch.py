"""A failed batch: only the requests at fault fail, and n requests cost at most 2n - 1 sends."""

from __future__ import annotations

import asyncio
from typing import Any, List, Optional, Type

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.batching.limits import BatchingLimits
from kserve_wrapper.batching.trust import FIRST
from kserve_wrapper.core.calls import Call, ModelMetadata, Reply, V1Call, V1Reply
from kserve_wrapper.core.errors import (
    BadGateway,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NotFound,
    OutOfResources,
    TooLarge,
    Unavailable,
    WrapperError,
)
from kserve_wrapper.upstream.connection import Interrupted
from kserve_wrapper.upstream.errors import Busy, NotReached, NotRegistered, Refused, ReplyTooLong, WorkerLost
from tests.unit.kserve_wrapper.batching.fake_model import BY_ROW, OURS, FakeModel, Rig, answers
from tests.unit.kserve_wrapper.batching.virtual_time import run


async def outcomes(rig: Rig, bad: List[bool]) -> List[Any]:
    tasks = [rig.submit(str(index), bad=is_bad) for index, is_bad in enumerate(bad)]
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_rows_at_fault_fail_their_requests_and_the_rest_goes_again_at_once() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0))
        tasks = [rig.submit("a", "b"), rig.submit("c", bad=True), rig.submit("d", "e")]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[0] == answers("a", "b")
        assert results[2] == answers("d", "e")
        assert isinstance(results[1], InvalidRequest)
        assert results[1].message == "row 0: c is bad"
        assert rig.model.batches == [["a", "b", "c", "d", "e"], ["a", "b", "d", "e"]]
        assert rig.elapsed == 2.0

    run(main())


def test_rows_at_fault_are_counted_within_their_own_request() -> None:
    async def main() -> None:
        rig = Rig(FakeModel())

        def fail(index: int, call: V1Call) -> Optional[Reply]:
            if len(call.instances) == 7:
                raise InvalidRequest("two rows", rows={3: "three", 5: "five", 6: "six"})
            return None

        rig.model.on_send = fail
        tasks = [rig.submit("a", "b"), rig.submit("c", "d", "e"), rig.submit("f", "g")]
        results: List[Any] = list(await asyncio.gather(*tasks, return_exceptions=True))
        assert results[0] == answers("a", "b")
        assert results[1].rows == {1: "three"}
        assert results[1].message == "row 1: three"
        assert results[2].rows == {0: "five", 1: "six"}
        assert results[2].message == "row 0: five; row 1: six"

    run(main())


class RefusingModel(FakeModel):
    """Refuses more than two rows before anything is sent."""

    def send(self, call: Call, metadata: ModelMetadata, deadline: float, headers: Any = None) -> Any:
        if isinstance(call, V1Call) and len(call.instances) > 2:
            raise TooLarge("more than max_request_size")
        return super().send(call, metadata, deadline, headers or {})


def test_what_cannot_be_sent_is_taken_apart_as_well() -> None:
    async def main() -> None:
        rig = Rig(RefusingModel())
        tasks = [rig.submit("a"), rig.submit("b", "c", "d"), rig.submit("e"), rig.submit("f")]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [results[0], *results[2:]] == [answers("a"), answers("e"), answers("f")]
        assert isinstance(results[1], TooLarge)
        assert rig.model.batches == [["a"], ["e", "f"]]

    run(main())


@pytest.mark.parametrize("at_once", [True, False])
def test_a_fault_of_the_wrapper_itself_fails_its_batch_alone(at_once: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(FakeModel):
        def send(self, call: Call, metadata: ModelMetadata, deadline: float, headers: Any = None) -> Any:
            if at_once and not self.sent:
                self.sent.append((0.0, V1Call("m", None, False, [])))
                raise ZeroDivisionError
            return super().send(call, metadata, deadline, headers or {})

    async def main() -> None:
        model = Faulty()
        rig = Rig(model)
        if not at_once:
            model.on_send = lambda index, call: 1 / 0 if not index else None  # type: ignore[return-value]
        results = await asyncio.gather(rig.submit("a"), rig.submit("b"), return_exceptions=True)
        assert [type(result) for result in results] == [InternalError, InternalError]
        assert "failed in the wrapper" in caplog.text
        assert await rig.submit("c") == answers("c")

    run(main())


@given(st.integers(2, 64), st.data())
def test_one_fault_without_rows_is_found_in_few_sends(size: int, data: st.DataObject) -> None:
    culprit = data.draw(st.integers(0, size - 1))

    async def main() -> None:
        rig = Rig(FakeModel(metadata=BY_ROW))
        results = await outcomes(rig, [index == culprit for index in range(size)])
        for index, result in enumerate(results):
            if index == culprit:
                assert isinstance(result, InternalError)
            else:
                assert result == answers(str(index))
        assert len(rig.model.sent) <= 1 + 2 * (size - 1).bit_length()

    run(main())


@given(st.lists(st.booleans(), min_size=1, max_size=24), st.sampled_from([OURS, BY_ROW]))
def test_sends_are_bounded_and_only_the_bad_fail(bad: List[bool], metadata: Any) -> None:
    async def main() -> None:
        rig = Rig(FakeModel(metadata=metadata))
        results = await outcomes(rig, bad)
        assert len(rig.model.sent) <= 2 * len(bad) - 1
        for index, (is_bad, result) in enumerate(zip(bad, results)):
            assert isinstance(result, WrapperError) if is_bad else result == answers(str(index))
        assert not any(isinstance(result, Unavailable) for result in results)

    run(main())


def test_refusal_of_what_requests_have_in_common_reaches_each_from_its_own_send() -> None:
    async def main() -> None:
        rig = Rig(FakeModel())

        def fail(index: int, call: V1Call) -> Optional[Reply]:
            raise InvalidRequest(f"parameter target is no number ({len(call.instances)} rows)")

        rig.model.on_send = fail
        results = await outcomes(rig, [False] * 64)
        assert {(type(r), r.message) for r in results} == {(InvalidRequest, "parameter target is no number (1 rows)")}
        assert [len(batch) for batch in rig.model.batches] == [64] + [1] * 64

    run(main())


def test_refusal_that_names_no_rows_speaks_for_nobody_but_who_was_alone() -> None:
    async def main() -> None:
        rig = Rig(FakeModel())

        def fail(index: int, call: V1Call) -> Optional[Reply]:
            if any(row["id"] == "6" for row in call.instances):
                raise InvalidRequest("something")
            return None

        rig.model.on_send = fail
        results = await outcomes(rig, [False] * 8)
        assert [index for index, result in enumerate(results) if isinstance(result, InvalidRequest)] == [6]
        assert [result for result in results if isinstance(result, list)] == [
            answers(str(i)) for i in range(8) if i != 6
        ]

    run(main())


def test_request_that_fails_only_in_company_succeeds_alone() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(metadata=BY_ROW))

        def fail(index: int, call: V1Call) -> Optional[Reply]:
            if len(call.instances) > 1:
                raise InternalError("too many at once")
            return None

        rig.model.on_send = fail
        assert await outcomes(rig, [False] * 4) == [answers(str(index)) for index in range(4)]

    run(main())


@pytest.mark.parametrize("kind", [TooLarge, OutOfResources])
def test_too_large_a_batch_is_halved(kind: Type[WrapperError]) -> None:
    async def main() -> None:
        rig = Rig(FakeModel())

        def fail(index: int, call: V1Call) -> Optional[Reply]:
            if len(call.instances) > 4:
                raise kind("too much")
            return None

        rig.model.on_send = fail
        assert await outcomes(rig, [False] * 16) == [answers(str(index)) for index in range(16)]
        assert [len(batch) for batch in rig.model.batches] == [16, 8, 4, 4, 8, 4, 4]

    run(main())


@pytest.mark.parametrize("error", [Interrupted(answered=True), NotRegistered("gone", 1.0)])
def test_what_no_request_can_be_the_cause_of_ends_all_at_once(error: WrapperError) -> None:
    def fail(index: int, call: V1Call) -> Optional[Reply]:
        raise error

    async def main() -> None:
        model = FakeModel()
        model.on_send = fail
        rig = Rig(model)
        results = await asyncio.gather(rig.submit("a"), rig.submit("b"), return_exceptions=True)
        assert [type(result) for result in results] == [type(error)] * 2
        for result in results:
            assert isinstance(result, WrapperError)
            assert result is not error
            assert (result.message, result.retry_after) == (error.message, error.retry_after)
            assert result.status == error.status
        assert model.batches == [["a", "b"]]

    run(main())


@pytest.mark.parametrize("metadata", [OURS, BY_ROW])
@pytest.mark.parametrize("kind", [Unavailable, DeadlineExceeded, NotFound, InternalError, BadGateway, InvalidRequest])
def test_a_handlers_own_error_for_one_request_is_nobody_elses(kind: Type[WrapperError], metadata: Any) -> None:
    async def main() -> None:
        rig = Rig(FakeModel(metadata=metadata))

        def fail(index: int, call: V1Call) -> Optional[Reply]:
            if any(row["id"] == "2" for row in call.instances):
                raise kind("no such customer")
            return None

        rig.model.on_send = fail
        results = await outcomes(rig, [False] * 6)
        assert [index for index, result in enumerate(results) if isinstance(result, kind)] == [2]
        assert [results[index] for index in (0, 1, 3, 4, 5)] == [answers(str(index)) for index in (0, 1, 3, 4, 5)]

    run(main())


@pytest.mark.parametrize("error", [WorkerLost("lost", 1.0), ReplyTooLong("m", 100)], ids=["dies", "answer too long"])
def test_a_request_that_ends_the_worker_costs_its_company_one_more_send(error: WrapperError) -> None:
    async def main() -> None:
        rig = Rig(FakeModel())

        def fail(index: int, call: V1Call) -> Optional[Reply]:
            if any(row["id"] == "poison" for row in call.instances):
                raise error
            return None

        rig.model.on_send = fail
        tasks = [rig.submit("a"), rig.submit("poison"), rig.submit("b")]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [results[0], results[2]] == [answers("a"), answers("b")]
        assert isinstance(results[1], type(error))
        assert (results[1].message, results[1].retry_after) == (error.message, error.retry_after)
        assert rig.model.batches == [["a", "poison", "b"], ["a"], ["poison"], ["b"]]

    run(main())


@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize("kind", [NotReached, Refused])
def test_what_cannot_be_reached_is_tried_once_more(times: int, kind: Type[WrapperError]) -> None:
    async def main() -> None:
        rig = Rig(FakeModel())

        def fail(index: int, call: V1Call) -> Optional[Reply]:
            if index < times:
                raise kind("unseen")
            return None

        rig.model.on_send = fail
        results = await outcomes(rig, [False] * 3)
        assert len(rig.model.sent) == 2
        if times == 1:
            assert results == [answers(str(index)) for index in range(3)]
        else:
            assert all(isinstance(result, Unavailable) for result in results)

    run(main())


def test_what_has_no_room_is_offered_again_until_it_has() -> None:
    async def main() -> None:
        rig = Rig(FakeModel())
        rig.model.on_send = lambda index, call: busy() if rig.elapsed < 3.0 else None
        assert await outcomes(rig, [False] * 3) == [answers(str(index)) for index in range(3)]
        assert rig.elapsed < 3.5
        assert {len(batch) for batch in rig.model.batches} == {3}

    run(main())


def test_what_never_has_room_ends_after_a_while() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(), BatchingLimits(busy_timeout=5.0))
        rig.model.on_send = lambda index, call: busy()
        results = await outcomes(rig, [False] * 3)
        assert [type(result) for result in results] == [Busy] * 3
        assert 4.0 < rig.elapsed < 5.5

    run(main())


def busy() -> Optional[Reply]:
    raise Busy("no free worker")


@pytest.mark.parametrize("metadata", [OURS, BY_ROW])
def test_wrong_number_of_rows_never_reaches_a_neighbour(metadata: Any) -> None:
    async def main() -> None:
        rig = Rig(FakeModel(metadata=metadata))
        rig.model.on_send = lambda index, call: V1Reply(answers(*[row["id"] for row in call.instances][:1]))
        results = await outcomes(rig, [False] * 4)
        assert results == [answers(str(index)) for index in range(4)]
        # And for a while nobody shares; for twice as long where it happens again.
        rig.model.sent.clear()
        await outcomes(rig, [False] * 4)
        assert [len(batch) for batch in rig.model.batches] == [1] * 4
        await asyncio.sleep(FIRST)
        rig.model.sent.clear()
        rig.model.on_send = lambda index, call: None
        await outcomes(rig, [False] * 4)
        assert [len(batch) for batch in rig.model.batches] == [4]

    run(main())


def test_trust_lost_again_is_lost_for_longer() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(metadata=BY_ROW))

        def fail(index: int, call: V1Call) -> Optional[Reply]:
            if len(call.instances) > 1:
                raise InternalError("too many at once")
            return None

        rig.model.on_send = fail
        for seconds in (FIRST, 2 * FIRST, 4 * FIRST):
            for sends in (7, 4):
                rig.model.sent.clear()
                assert await outcomes(rig, [False] * 4) == [answers(str(index)) for index in range(4)]
                assert len(rig.model.sent) == sends
            await asyncio.sleep(seconds)

    run(main())


def test_a_request_at_fault_costs_nobody_the_trust() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(metadata=BY_ROW))
        await outcomes(rig, [False, True, False, False])
        rig.model.sent.clear()
        await outcomes(rig, [False] * 4)
        assert [len(batch) for batch in rig.model.batches] == [4]

    run(main())


def test_wrong_number_of_rows_alone_is_a_bad_gateway() -> None:
    async def main() -> None:
        rig = Rig(FakeModel())
        rig.model.on_send = lambda index, call: V1Reply(["one"])
        with pytest.raises(BadGateway):
            await rig.submit("a", "b")

    run(main())


def test_fault_of_the_wrapper_itself_resolves_every_waiter(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        rig = Rig(FakeModel())

        def fail(index: int, call: V1Call) -> Optional[Reply]:
            raise KeyError("secret")

        rig.model.on_send = fail
        results = await outcomes(rig, [False] * 3)
        assert [type(result) for result in results] == [InternalError] * 3
        assert not any("secret" in result.message for result in results)
        rig.model.on_send = lambda index, call: None
        assert await rig.submit("next") == answers("next")

    run(main())
    assert "secret" in caplog.text


def test_requests_that_end_while_it_is_taken_apart_are_not_sent_again() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(delay=1.0, metadata=BY_ROW))
        tasks = [rig.submit("a"), rig.submit("b", timeout=0.5), rig.submit("c", bad=True), rig.submit("d")]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[1], DeadlineExceeded)
        assert isinstance(results[2], InternalError)
        assert [results[0], results[3]] == [answers("a"), answers("d")]
        assert all("b" not in batch for batch in rig.model.batches[1:])

    run(main())


def test_large_answers_are_foreseen() -> None:
    async def main() -> None:
        rig = Rig(FakeModel(), BatchingLimits(reply_bytes_per_batch=1000))
        rig.model.on_send = lambda index, call: V1Reply(
            answers(*[row["id"] for row in call.instances]), size=250 * len(call.instances)
        )
        await rig.submit("a")
        rig.model.sent.clear()
        await outcomes(rig, [False] * 10)
        assert [len(batch) for batch in rig.model.batches] == [4, 4, 2]

    run(main())
