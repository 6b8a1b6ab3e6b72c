"""When the wrapper leaves the processors to TorchServe, and what of it the batcher sees to."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any, List

import pytest

from kserve_wrapper.assembly import answer_came
from kserve_wrapper.batching.cpu_yield import BUSIEST, PAUSE, CpuYield
from kserve_wrapper.batching.limits import BatchingLimits
from kserve_wrapper.settings import Settings
from tests.unit.kserve_wrapper.batching.fake_model import FakeModel, Rig, answers
from tests.unit.kserve_wrapper.batching.virtual_time import run


class Machine:
    """Time passes when told, or while somebody sleeps; ``busy`` is the part of it for which the thread computes."""

    def __init__(self, busy: float) -> None:
        self.busy = busy
        self.now = self.computed = 0.0
        self.pauses: List[float] = []

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.computed += self.busy * seconds

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def cpu_yield(self, processors: float, processes: int = 1) -> CpuYield:
        return CpuYield(processes, processors, lambda: self.now, lambda: self.computed, self.sleep)


@pytest.mark.parametrize(
    ("processors", "processes", "workers", "in_flight", "pauses"),
    [
        (2, 1, 1, 2, True),
        (1, 1, 1, 2, True),
        # Nothing waits for a worker.
        (2, 1, 1, 1, False),
        (4, 1, 4, 4, False),
        (4, 1, 4, 5, True),
        # A processor is left for Java.
        (3, 1, 1, 2, False),
        (64, 1, 4, 9, False),
        # A container with a quota, whatever its node has.
        (1.5, 1, 1, 2, True),
        (3, 2, 1, 2, True),
    ],
)
def test_pauses_where_a_batch_waits_and_processors_are_few(
    processors: float, processes: int, workers: int, in_flight: int, pauses: bool
) -> None:
    machine = Machine(busy=0.3)
    cpu_yield = machine.cpu_yield(processors, processes)
    machine.pass_time(0.005)
    cpu_yield(in_flight, workers)
    assert machine.pauses == ([PAUSE] if pauses else [])


def test_a_wrapper_that_everybody_waits_for_does_not_pause() -> None:
    machine = Machine(busy=BUSIEST + 0.1)
    cpu_yield = machine.cpu_yield(2)
    for _ in range(10):
        machine.pass_time(0.005)
        cpu_yield(2, 1)
    assert machine.pauses == []
    machine.busy = BUSIEST - 0.3
    for _ in range(20):
        machine.pass_time(0.005)
        cpu_yield(2, 1)
    # Not at once, as one quick answer proves nothing; but before long.
    assert 10 < len(machine.pauses) < 20


def test_what_was_before_a_quiet_time_does_not_count() -> None:
    machine = Machine(busy=1.0)
    cpu_yield = machine.cpu_yield(2)
    for _ in range(50):
        machine.pass_time(0.005)
        cpu_yield(2, 1)
    assert machine.pauses == []
    machine.busy = 0.0
    machine.pass_time(10.0)
    cpu_yield(2, 1)
    assert machine.pauses == [PAUSE]


def test_by_itself_it_knows_the_machine_and_what_this_thread_computes() -> None:
    workers = max(1, len(os.sched_getaffinity(0)) - 1)
    slept: List[float] = []
    cpu_yield = CpuYield(sleep=slept.append)
    for _ in range(10):
        # Quiet, so that this thread is not busy.
        threading.Event().wait(0.02)
        cpu_yield(workers + 1, workers)
    assert slept
    assert set(slept) == {PAUSE}


def test_the_batcher_tells_of_each_answer_before_it_is_dealt_with() -> None:
    async def main() -> None:
        seen: List[Any] = []
        rig = Rig(FakeModel(delay=0.5), BatchingLimits(), answer_came=lambda *told: seen.append(note(*told)))

        def note(in_flight: int, workers: int) -> Any:
            return rig.elapsed, workers, in_flight, [task.done() for task in tasks]

        tasks = [rig.submit("a")]
        await asyncio.sleep(0.1)
        tasks.append(rig.submit("b"))
        assert [await task for task in tasks] == [answers("a"), answers("b")]
        # The second went ahead of the first one's answer, when that was still to come.
        assert seen == [(0.5, 1, 2, [False, False]), (0.6, 1, 1, [True, False])]

    run(main())


def test_an_answer_that_is_an_error_is_not_told() -> None:
    async def main() -> None:
        seen: List[Any] = []
        rig = Rig(FakeModel(), answer_came=lambda *told: seen.append(told))
        with pytest.raises(Exception, match="a is bad"):
            await rig.submit("a", bad=True)
        assert seen == []

    run(main())


def test_settings_turn_it_off() -> None:
    assert isinstance(answer_came(Settings()), CpuYield)
    for off in (Settings(cpu_yield=False), Settings(batching=False)):
        assert not isinstance(answer_came(off), CpuYield)
