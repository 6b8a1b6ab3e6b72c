"""Promise 3: SIGTERM under load cuts no request that was accepted, refuses what is new, and is over in time."""

from __future__ import annotations

import asyncio
import signal
import time

from tests.faults.conftest import MakePod
from tests.faults.figures import record
from tests.faults.kinds import mixed, stub_of
from tests.faults.load import Background, Tally
from tests.faults.pod import Pod, descendants, exists, kill, until
from tests.faults.under_load import HANG, in_thread

DRAIN = 12.0


def test_sigterm_under_load(make_pod: MakePod) -> None:
    with make_pod(options=["--drain_timeout", f"{DRAIN:g}"]) as pod:
        processes = [pod.supervisor.pid, *descendants(pod.supervisor.pid)]
        tally, took = asyncio.run(_terminate_under_load(pod))
        text = pod.text()
    record(3, f"SIGTERM under load, --drain_timeout {DRAIN:g}", {"gone_after_s": round(took, 2), **tally.figures()})
    assert pod.supervisor.returncode == 0, text[-3000:]
    assert took < DRAIN + 5
    until(lambda: not any(exists(pid) for pid in processes), "all processes are gone")
    assert not tally.outcomes["wrong"], tally.faults[:5]
    assert not tally.outcomes["late"]
    assert not tally.outcomes["lost"], [fault for fault in tally.faults if "lost" in fault][:5]
    assert all(cause.startswith(("503", "UNAVAILABLE")) for cause in tally.causes), tally.causes


async def _terminate_under_load(pod: Pod) -> tuple[Tally, float]:
    questions = mixed(stub_of(pod.grpc_port))
    async with Background(pod.http_port, questions, 32, limit=HANG, pause=0.0) as tally:
        await in_thread(until, lambda: tally.outcomes["right"] >= 300, "the load runs")
        started = time.monotonic()
        kill(pod.supervisor.pid, signal.SIGTERM)
        await in_thread(until, lambda: pod.supervisor.poll() is not None, "the pod ends")
        return tally, time.monotonic() - started


def test_slow_requests_finish_while_draining(make_pod: MakePod) -> None:
    """A request of 2 s that the worker has is answered; one that comes after SIGTERM is refused."""
    from tests.faults.kinds import Rows
    from tests.faults.load import ask_one
    from tests.faults.wire import HttpClient

    async def course(pod: Pod) -> tuple[Tally, Tally]:
        before, after = Tally(), Tally()
        first, second = (HttpClient("127.0.0.1", pod.http_port) for _ in range(2))
        # A connection that is there before the signal, as a proxy's is.
        await ask_one(Rows("v1", ["echo:warm"]), second, Tally(), HANG)
        slow = asyncio.ensure_future(ask_one(Rows("v1", ["sleep:2:x"]), first, before, HANG))
        await asyncio.sleep(0.5)
        kill(pod.supervisor.pid, signal.SIGTERM)
        await asyncio.sleep(0.5)
        await ask_one(Rows("v1", ["echo:late"]), second, after, HANG)
        await slow
        first.close()
        second.close()
        return before, after

    with make_pod(models=("faulty",), options=["--drain_timeout", f"{DRAIN:g}"]) as pod:
        before, after = asyncio.run(course(pod))
        until(lambda: pod.supervisor.poll() is not None, "the pod ends")
    assert before.outcomes["right"] == 1, before
    assert after.outcomes["refused"] == 1, after
    assert any("shutting down" in cause for cause in after.causes), after.causes
