"""Promise 4: at four times what the model can do, it does what it can, and says no to the rest at once."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from statistics import median
from typing import Callable, Iterator

import pytest

from tests.faults.conftest import MakePod
from tests.faults.figures import pick, record
from tests.faults.kinds import Rows
from tests.faults.load import Question, Tally, ask_one, run_load
from tests.faults.pod import Pod, resident, until
from tests.faults.wire import HttpClient

ROUNDS = 3
_number = itertools.count()


def sleeping(seconds: float) -> Question:
    """A row for which the handler takes so long that the model, not the machine, is the limit."""
    return Rows("v1 text", [f"sleep:{seconds}:{next(_number)}"])


async def offer(pod: Pod, row: Callable[[], Question], rate: float, seconds: float, limit: float) -> Tally:
    """Requests at a fixed rate, whether or not earlier ones have their answer."""
    tally = Tally()
    idle: list[HttpClient] = []
    running: set[asyncio.Task[None]] = set()

    async def one() -> None:
        client = idle.pop() if idle else HttpClient("127.0.0.1", pod.http_port)
        await ask_one(row(), client, tally, limit)
        idle.append(client)

    started = time.monotonic()
    for turn in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, started + turn / rate - time.monotonic()))
        task = asyncio.ensure_future(one())
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    for client in idle:
        client.close()
    await asyncio.sleep(0.05)
    return tally


@pytest.mark.parametrize(
    ("row_seconds", "deadline", "queue"),
    [
        pytest.param(0.02, 4.0, 64, id="the queue is full before anybody waits too long"),
        pytest.param(0.1, 2.0, 2048, id="the queue is never full, and its end would wait too long"),
    ],
)
def test_overload(make_pod: MakePod, row_seconds: float, deadline: float, queue: int) -> None:
    """The peak is measured anew before each round: machines change their pace."""
    flags = ["--request_timeout", f"{deadline:g}", "--queued_requests", str(queue)]
    seconds = pick(3.0, 20.0)

    def row() -> Question:
        return sleeping(row_seconds)

    def rows(client: int) -> Iterator[Question]:
        while True:
            yield row()

    peaks, rounds, grown = [], [], []
    with make_pod(models=("faulty",), wrapper=flags) as pod:

        def answers_again() -> bool:
            """What was under way when the load ended is over."""
            return asyncio.run(run_load(pod.http_port, rows, 1, 1)).outcomes["right"] == 1

        for _ in range(ROUNDS):
            until(answers_again, "the pod answers a request")
            peaks.append(asyncio.run(run_load(pod.http_port, rows, 8, int(pick(1.0, 10.0) / row_seconds))).rate())
            before = resident(pod.wrapper)
            rounds.append(asyncio.run(offer(pod, row, 4 * peaks[-1], seconds, deadline + 12)))
            grown.append(resident(pod.wrapper) - before)
        until(answers_again, "the pod answers a request")
        after = asyncio.run(run_load(pod.http_port, rows, 4, 40))
    parts = [tally.rate() / peak for tally, peak in zip(rounds, peaks)]
    tally = Tally(
        sum((one.outcomes for one in rounds), Counter()), causes=sum((one.causes for one in rounds), Counter())
    )
    for one in rounds:
        tally.faults += one.faults
        tally.events += one.events
    figures = {
        "peak_per_second": round(median(peaks), 1),
        "goodput_over_peak": round(median(parts), 2),
        "p50_of_refusals_ms": round(1000 * tally.percentile(0.5, "refused"), 1),
        "p99_of_refusals_ms": round(1000 * tally.percentile(0.99, "refused"), 1),
        "memory_grown_mb": round(max(grown) / 2**20, 1),
    }
    shown = {name: value for name, value in tally.figures().items() if name != "per_second"}
    name = (
        f"4 times the capacity for {ROUNDS} x {seconds:g} s, {1000 * row_seconds:g} ms a row, deadline {deadline:g} s"
    )
    record(4, name, {**figures, **shown})
    assert not tally.faults, tally.faults[:5]
    assert median(parts) > 0.8 * 0.9, parts
    assert tally.percentile(0.99) < deadline + 1
    assert tally.outcomes["refused"] > tally.outcomes["right"]
    assert tally.percentile(0.5, "refused") < 0.5
    assert max(grown) < 64 * 2**20
    assert after.outcomes["right"] == 40
