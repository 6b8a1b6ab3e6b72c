"""One fault at a time, while requests of known answers run and a prober watches readiness."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Iterator

from kserve_wrapper.core import tasks
from tests.faults.kinds import echo, mnist_probes
from tests.faults.load import Background, Question, Tally, ready_changes, until
from tests.faults.pod import Pod

#: What the wrappers of these tests are given as their request timeout, seconds.
DEADLINE = 8.0
#: A request that has no answer by now hangs: the deadline, and time for a slow machine to say so.
HANG = DEADLINE + 12.0
#: Promised is 2 s; a machine busy with other things gets more.
UNREADY_WITHIN = 8.0
CLIENTS = 16


@dataclass
class Course:
    """What happened. Moments are on the monotonic clock."""

    tally: Tally
    harmed: float = 0.0
    #: Readiness, each time it turned.
    turns: list[tuple[float, bool]] = field(default_factory=list)

    def unready_after(self) -> float:
        """Seconds from the harm until a prober saw that the pod was not ready; infinity if it never did."""
        return (
            min((at for at, ready in self.turns if not ready and at >= self.harmed), default=float("inf")) - self.harmed
        )

    def ready_after(self) -> float:
        """Seconds from the harm until readiness was back for good."""
        return self.turns[-1][0] - self.harmed if self.turns[-1][1] else float("inf")

    def of(self, *kinds: str) -> list[str]:
        """Faults of some kinds of requests."""
        return [fault for fault in self.tally.faults if fault.startswith(kinds)]

    def figures(self) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if self.unready_after() < float("inf"):
            told = {"unready_after_s": round(self.unready_after(), 2)}
        if told and self.ready_after() < float("inf"):
            told["ready_again_s"] = round(self.ready_after(), 2)
        return {**told, **self.tally.figures()}

    def check(self) -> None:
        """Every request had an answer in time, right or with a cause, and only those were refused that could not
        be served."""
        assert not self.tally.faults, self.tally.faults[:10]
        assert not self.tally.outcomes["unreachable"]
        assert self.tally.longest() < HANG
        assert self.tally.outcomes["right"] > 0


def both_models(number: int) -> Iterator[Question]:
    """Half for the digit classifier, good and poisoned; half echoes."""
    source = random.Random(number)
    while True:
        yield echo(source) if source.random() < 0.5 else source.choice(mnist_probes())


Harm = Callable[[], Awaitable[None]]


def course_of(
    pod: Pod,
    harm: Harm,
    questions: Callable[[int], Iterator[Question]] = both_models,
    clients: int = CLIENTS,
    turns: bool = True,
    answered: int = 40,
) -> Course:
    """Load, harm, and load until all is well again.

    Args:
        harm: returns when the harm is done; what it waits for belongs to the harm.
        turns: the pod will be unready for a time; waits until it was, and is ready again.
        answered: right answers that must come after all is well.
    """
    return asyncio.run(_course(pod, harm, questions, clients, turns, answered))


async def _course(pod: Pod, harm: Harm, questions: Any, clients: int, turns: bool, answered: int) -> Course:
    background = Background(pod.http_port, questions, clients, limit=HANG, pause=0.01)
    async with background as tally:
        course = Course(tally)
        watcher = asyncio.ensure_future(_watch(pod, course))
        try:
            await until(lambda: tally.outcomes["right"] >= 40 and bool(course.turns), "the load runs")
            course.harmed = time.monotonic()
            await harm()
            if turns:
                await until(lambda: course.unready_after() < float("inf"), "the pod is not ready")
                await until(lambda: course.turns[-1][1], "the pod is ready again")
            well = tally.outcomes["right"]
            await until(lambda: tally.outcomes["right"] >= well + answered, "answers come again")
        finally:
            await tasks.end([watcher])
    await asyncio.sleep(0.05)
    return course


async def _watch(pod: Pod, course: Course) -> None:
    turns = ready_changes(pod.http_port)
    try:
        async for turn in turns:
            course.turns.append(turn)
    finally:
        await turns.aclose()


async def in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    """A blocking call, while the load goes on."""
    return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)
