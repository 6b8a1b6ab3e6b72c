"""Promise 2: a worker is killed, hangs, or its handler misbehaves; the other model and its requests notice nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import time

import pytest

from tests.faults.figures import record
from tests.faults.kinds import FAULTY, JSON, Rows
from tests.faults.load import Tally, ask_one
from tests.faults.pod import Pod, kill, until
from tests.faults.under_load import DEADLINE, HANG, UNREADY_WITHIN, course_of, in_thread
from tests.faults.wire import HttpClient

MNIST = ("v1 predict", "v1 tensors", "v1 bad row", "v1 explain", "v2 bytes", "v2 tensor", "v2 binary", "v2 bad shape")


def test_worker_killed(shared_pod: Pod) -> None:
    [worker] = shared_pod.workers("faulty")

    async def harm() -> None:
        kill(worker)

    course = course_of(shared_pod, harm)
    record(2, "kill -9 of a model's only worker", course.figures())
    course.check()
    assert course.unready_after() < UNREADY_WITHIN
    assert shared_pod.workers("faulty") != [worker]
    # A request that the dead worker held may also end at its deadline, whose message names no model.
    causes = course.tally.causes
    assert all("faulty" in cause or "deadline passed before its answer came" in cause for cause in causes), causes


def test_worker_stopped(shared_pod: Pod) -> None:
    """TorchServe kills and restarts it after responseTimeout, 4 s here."""
    [worker] = shared_pod.workers("faulty")

    async def harm() -> None:
        kill(worker, signal.SIGSTOP)

    course = course_of(shared_pod, harm)
    record(2, "SIGSTOP of a worker, responseTimeout 4 s", course.figures())
    course.check()
    assert shared_pod.workers("faulty") != [worker]


#: What the row makes the handler do, and the statuses that its request may get.
MISBEHAVIOUR = {
    "raises": ("raise:x", {500}),
    "refuses with a 400": ("refuse:x", {400}),
    "answers nonsense": ("nonsense:x", {502}),
    "is slow": ("sleep:2:x", {200}),
    "is slower than the deadline": (f"sleep:{DEADLINE + 4}:x", {503, 504}),
    "ends its process": ("exit:x", {503}),
    "answers 70 MB": ("large:70000000", {413, 503, 507}),
    "answers 7 MB, beyond max_response_size": ("large:7000000", {413, 503, 507}),
}


@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_handler_misbehaves(shared_pod: Pod, name: str) -> None:
    row, statuses = MISBEHAVIOUR[name]
    got: list[tuple[int, float, str]] = []

    async def harm() -> None:
        client = HttpClient("127.0.0.1", shared_pod.http_port)
        started = time.monotonic()
        body = json.dumps({"instances": [row]}).encode()
        status, answer, _ = await asyncio.wait_for(client.send("POST", FAULTY, body, JSON), HANG)
        got.append((status, time.monotonic() - started, str(json.loads(answer).get("error", ""))))
        client.close()
        await in_thread(until, shared_pod.ready, "the pod is ready")

    course = course_of(shared_pod, harm, turns=False)
    [(status, took, cause)] = got
    record(2, f"the handler {name}", {"its_request_got": status, "after_s": round(took, 2), **course.figures()})
    course.check()
    assert status in statuses, cause
    assert status == 200 or len(cause) > 10
    assert "/tmp" not in cause
    assert not course.of(*MNIST)


@pytest.mark.parametrize("kind", ["short", "long"])
def test_wrong_number_of_rows(shared_pod: Pod, kind: str) -> None:
    """A stock handler that leaves a row out, or answers one twice: no neighbour gets a row that is not its own."""
    tally = Tally()

    async def harm() -> None:
        client = HttpClient("127.0.0.1", shared_pod.http_port)
        for number in range(20):
            wrong = Rows("told to miscount", [f"{kind}:{number}", f"echo:{number}"])
            await ask_one(wrong, client, tally, HANG)
        client.close()

    course = course_of(shared_pod, harm, turns=False, answered=200)
    name = "leaves a row out" if kind == "short" else "answers a row twice"
    record(2, f"the handler {name}", course.figures())
    course.check()
    assert tally.outcomes["lost"] == tally.outcomes["late"] == 0
