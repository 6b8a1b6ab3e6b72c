"""Promise 4: at four times what the model can do, it does what it can, and says no to the rest at once."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Iterator

from tests.faults.conftest import MakePod
from tests.faults.figures import pick, record
from tests.faults.kinds import Rows
from tests.faults.load import Question, Tally, ask_one, run_load
from tests.faults.pod import Pod, resident
from tests.faults.wire import HttpClient

#: Seconds that the handler takes for a row: slow enough that the model, not the machine, is the limit.
ROW = 0.02
DEADLINE = 4.0
_number = itertools.count()


def row() -> Question:
    return Rows("v1 text", [f"sleep:{ROW}:{next(_number)}"])


def rows(number: int) -> Iterator[Question]:
    while True:
        yield row()


async def offer(pod: Pod, rate: float, seconds: float, limit: float) -> Tally:
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


def test_overload(make_pod: MakePod) -> None:
    flags = ["--request_timeout", f"{DEADLINE:g}", "--queued_requests", "64"]
    seconds = pick(6.0, 60.0)
    with make_pod(models=("faulty",), wrapper=flags) as pod:
        peak = asyncio.run(run_load(pod.http_port, rows, 16, pick(150, 1500))).rate()
        before = resident(pod.wrapper)
        tally = asyncio.run(offer(pod, 4 * peak, seconds, DEADLINE + 12))
        grown = resident(pod.wrapper) - before
        after = asyncio.run(run_load(pod.http_port, rows, 4, 40))
    goodput = tally.rate()
    figures = {
        "peak_per_second": round(peak, 1),
        "offered_per_second": round(4 * peak, 1),
        "goodput_per_second": round(goodput, 1),
        "p99_of_refusals_ms": round(1000 * tally.percentile(0.99, "refused"), 1),
        "memory_grown_mb": round(grown / 2**20, 1),
    }
    record(4, f"4 times the capacity for {seconds:g} s, deadline {DEADLINE:g} s", {**figures, **tally.figures()})
    assert not tally.faults, tally.faults[:5]
    assert goodput > 0.8 * peak * 0.9
    assert tally.percentile(0.99) < DEADLINE + 1
    assert tally.outcomes["refused"] > tally.outcomes["right"]
    assert tally.percentile(0.5, "refused") < 0.5
    assert grown < 64 * 2**20
    assert after.outcomes["right"] == 40
