"""Promise 1: every request gets exactly one answer, its own."""

from __future__ import annotations

import asyncio

from tests.faults.figures import pick, record
from tests.faults.kinds import mixed, stub_of
from tests.faults.load import Tally, run_load
from tests.faults.pod import Pod

CLIENTS = 64


def test_every_answer_is_the_requests_own(shared_pod: Pod) -> None:
    requests = pick(3000, 100_000)

    async def load() -> Tally:
        return await run_load(shared_pod.http_port, mixed(stub_of(shared_pod.grpc_port)), CLIENTS, requests)

    tally = asyncio.run(load())
    record(1, f"{CLIENTS} clients, {len(tally.kinds)} kinds of requests, some poisoned", tally.figures())
    assert tally.asked == requests
    assert not tally.faults, tally.faults[:10]
    assert tally.outcomes["right"] == requests, tally.causes
    assert len(tally.kinds) == 13
