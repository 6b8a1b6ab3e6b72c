"""Promise 4: what waits is bounded in memory too, though a worker hangs and clients come and go."""

from __future__ import annotations

import asyncio
import json
import time
from typing import List

from tests.faults.conftest import MakePod
from tests.faults.figures import pick, record
from tests.faults.pod import Pod, resident
from tests.faults.wire import HttpClient, Lost, Refused

#: Bytes of a request's body, and that may wait.
BODY = 100_000
QUEUED = 8_000_000
CLIENTS = 200
#: What the wrapper may need beside what waits.
BESIDE = 64 * 2**20


async def come_and_go(pod: Pod, seconds: float) -> List[int]:
    """Clients that send, and half of which hang up before they are refused; the wrapper's memory meanwhile."""
    body = json.dumps({"instances": ["echo:" + "x" * BODY]}).encode()
    end = time.monotonic() + seconds
    samples: List[int] = []

    async def client(number: int) -> None:
        while time.monotonic() < end:
            http = HttpClient("127.0.0.1", pod.http_port)
            path, headers = "/v1/models/faulty:predict", {"Content-Type": "application/json"}
            patience = 0.3 if number % 2 else 30.0
            try:
                status, _, _ = await asyncio.wait_for(http.send("POST", path, body, headers), patience)
                assert status in (503, 504), status
            except (asyncio.TimeoutError, Lost, Refused):
                pass
            finally:
                http.close()

    async def watch() -> None:
        while time.monotonic() < end:
            samples.append(resident(pod.wrapper))
            await asyncio.sleep(0.2)

    await asyncio.gather(watch(), *[client(number) for number in range(CLIENTS)])
    return samples


async def hang_and_load(pod: Pod, seconds: float) -> List[int]:
    http = HttpClient("127.0.0.1", pod.http_port)
    hang = json.dumps({"instances": [f"sleep:{seconds + 20}:x"]}).encode()
    hung = asyncio.ensure_future(http.send("POST", "/v1/models/faulty:predict", hang, {}))
    await asyncio.sleep(0.5)
    samples = await come_and_go(pod, seconds)
    hung.cancel()
    await asyncio.gather(hung, return_exceptions=True)
    http.close()
    return samples


def test_clients_that_come_and_go_at_a_hung_worker_leave_no_memory_taken(make_pod: MakePod) -> None:
    seconds = pick(10.0, 60.0)
    flags = ["--request_timeout", "1", "--queued_bytes", str(QUEUED)]
    with make_pod(response_timeout=120, wrapper=flags) as pod:
        before = resident(pod.wrapper)
        samples = asyncio.run(hang_and_load(pod, seconds))
        grown = max(samples) - before
        assert len(samples) > seconds
        assert grown <= QUEUED + BESIDE
        assert pod.ready()
    record(
        4,
        f"a hung worker, {CLIENTS} clients with {BODY // 1000} kB each that time out or hang up",
        {"seconds": seconds, "may_wait_MB": QUEUED / 1e6, "wrapper_grew_by_MB": round(grown / 1e6, 1)},
    )
