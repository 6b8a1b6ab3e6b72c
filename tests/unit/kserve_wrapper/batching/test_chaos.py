"""Random traffic with delays, faults, cancellations and deadlines: what must hold in every history."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_wrapper.batching.limits import BatchingLimits
from kserve_wrapper.batching.queue import Waiting
from kserve_wrapper.core.calls import Reply, V1Call, V1Reply
from kserve_wrapper.core.errors import DeadlineExceeded, InternalError, NotFound, Unavailable, WrapperError
from kserve_wrapper.upstream.errors import NotReached
from tests.unit.kserve_wrapper.batching.fake_model import OURS, STOCK, FakeModel, Rig, answers
from tests.unit.kserve_wrapper.batching.virtual_time import run

LIMITS = BatchingLimits(rows_per_batch=6, queued_requests=12, queued_rows=30, busy_timeout=0.0)


@dataclass(frozen=True)
class Client:
    arrives: float
    rows: int
    timeout: float
    cancelled_after: Optional[float]
    key: str
    model: str
    bad: bool


def clients() -> st.SearchStrategy[List[Client]]:
    instant = st.integers(0, 40).map(lambda tenths: tenths / 10)
    return st.lists(
        st.builds(
            Client,
            arrives=instant,
            rows=st.integers(1, 8),
            timeout=st.integers(1, 60).map(lambda tenths: tenths / 10),
            cancelled_after=st.one_of(st.none(), instant),
            key=st.sampled_from("xy"),
            model=st.sampled_from("mn"),
            bad=st.integers(0, 5).map(lambda n: n == 0),
        ),
        max_size=30,
    )


#: What an upstream request comes to, in order; the plain answer once the script is used up.
scripts = st.lists(st.sampled_from(["answer", "down", "unreached", "short", "crash", "gone"]), max_size=8)


def act(script: List[str], model: FakeModel, index: int, call: V1Call) -> Optional[Reply]:
    event = script[index] if index < len(script) else "answer"
    if event == "down":
        raise Unavailable("down")
    if event == "unreached":
        raise NotReached("not reachable")
    if event == "crash":
        raise InternalError("crash")
    if event == "gone":
        raise NotFound("gone")
    if event == "short":
        reply = model.answer(call)
        assert isinstance(reply, V1Reply)
        return V1Reply(reply.results[:-1])
    return None


async def one(rig: Rig, number: int, client: Client, outcomes: Dict[int, Tuple[float, Any]]) -> None:
    await asyncio.sleep(client.arrives)
    ids = [f"{number}.{row}" for row in range(client.rows)]
    task = rig.submit(
        *ids, timeout=client.timeout, bad=client.bad, model=client.model, extra={"parameters": client.key}
    )
    if client.cancelled_after is not None:
        rig.loop.call_later(client.cancelled_after, task.cancel)
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    assert number not in outcomes
    outcomes[number] = (rig.loop.time() - rig.start - client.arrives, outcome)


def check_outcome(number: int, client: Client, after: float, outcome: Any, counted: bool) -> None:
    assert after <= client.timeout + 1e-6
    if isinstance(outcome, asyncio.CancelledError):
        assert client.cancelled_after is not None
    elif isinstance(outcome, DeadlineExceeded):
        assert abs(after - client.timeout) < 1e-6
    elif isinstance(outcome, list):
        assert not client.bad
        whole = answers(*[f"{number}.{row}" for row in range(client.rows)])
        # A stock handler's answer to one request alone is taken as it comes.
        assert outcome == whole or (not counted and outcome == whole[:-1])
    else:
        assert isinstance(outcome, WrapperError)


def check_batch(call: V1Call, everyone: List[Client]) -> None:
    """No batch mixes keys, exceeds the rows, or changes the order of arrival."""
    numbers = [int(row["id"].split(".")[0]) for row in call.instances]
    owners = list(dict.fromkeys(numbers))
    assert {(everyone[n].model, everyone[n].key) for n in owners} == {(call.model, call.extra["parameters"])}
    assert len(call.instances) <= LIMITS.rows_per_batch or len(owners) == 1
    assert [everyone[n].arrives for n in owners] == sorted(everyone[n].arrives for n in owners)
    rows = [row["id"] for row in call.instances]
    assert rows == [f"{n}.{row}" for n in owners for row in range(everyone[n].rows)]


@settings(max_examples=300)
@given(clients(), scripts, st.sampled_from([OURS, STOCK]), st.integers(1, 3), st.integers(1, 15))
def test_every_history(everyone: List[Client], script: List[str], metadata: Any, slots: int, tenths: int) -> None:
    async def main() -> None:
        model = FakeModel(delay=tenths / 10, metadata=metadata)
        model.on_send = lambda index, call: act(script, model, index, call)
        rig = Rig(model, LIMITS, slots)
        outcomes: Dict[int, Tuple[float, Any]] = {}
        await asyncio.gather(*[one(rig, number, client, outcomes) for number, client in enumerate(everyone)])
        assert sorted(outcomes) == list(range(len(everyone)))
        for number, (after, outcome) in outcomes.items():
            check_outcome(number, everyone[number], after, outcome, metadata is OURS)
        for _, call in model.sent:
            check_batch(call, everyone)
        # Two models, each with its slots and one batch ahead of them, or where nobody shares as many again.
        assert model.most_in_flight <= max(slots + 1, 2 * slots) * 2
        assert not model.misused
        assert rig.watch.most_requests <= LIMITS.queued_requests
        assert rig.watch.most_rows <= LIMITS.queued_rows
        batcher = rig.batcher
        assert batcher.waiting == Waiting()
        await batcher.drain(1000)
        assert batcher.in_flight == 0

    run(main())
