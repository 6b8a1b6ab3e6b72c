"""Promise 2: TorchServe itself is killed, stopped, restarted, overfilled; models are unloaded and loaded."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import urllib.error
import urllib.request
from typing import Callable

from tests.faults.conftest import MakePod
from tests.faults.figures import pick, record
from tests.faults.kinds import echoes
from tests.faults.load import Background, Tally, run_load
from tests.faults.pod import PATIENCE, Pod, descendants, exists, kill, until
from tests.faults.under_load import HANG, UNREADY_WITHIN, both_models, course_of, in_thread


def test_torchserve_stopped_and_continued(shared_pod: Pod) -> None:
    seconds = pick(4.0, 10.0)
    torchserve = shared_pod.torchserve

    async def harm() -> None:
        kill(torchserve, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            kill(torchserve, signal.SIGCONT)

    course = course_of(shared_pod, harm)
    record(2, f"SIGSTOP of TorchServe for {seconds:g} s", course.figures())
    course.check()
    assert course.unready_after() < UNREADY_WITHIN


def test_model_unloaded_and_loaded(shared_pod: Pod) -> None:
    """Its requests are refused meanwhile; the other model's are not."""

    async def harm() -> None:
        await in_thread(shared_pod.manage, "DELETE", "/models/faulty/1.0")
        await in_thread(until, lambda: shared_pod.status("/v1/models/faulty") != 200, "the model is gone")
        load = "/models?url=faulty.mar&model_name=faulty&initial_workers=1&synchronous=true&response_timeout=4"
        await in_thread(shared_pod.manage, "POST", load)
        await in_thread(until, lambda: shared_pod.status("/v1/models/faulty") == 200, "the model is back")

    course = course_of(shared_pod, harm, turns=False)
    gone = [fault for fault in course.tally.faults if "404" in fault and "faulty" in fault]
    # While it is unloaded, 404 is the right answer.
    told = {**course.figures(), "not_found": len(gone), "wrong": course.tally.outcomes["wrong"] - len(gone)}
    record(2, "a model unloaded and loaded again", told)
    assert len(gone) == len(course.tally.faults), course.tally.faults[:5]
    assert all(fault.startswith(("v1 text", "v2 text")) for fault in gone)


def test_torchserve_killed(make_pod: MakePod) -> None:
    """It cannot recover by itself: the supervisor says so and ends the pod, for Kubernetes to restart."""
    with make_pod() as pod:
        tally, took = asyncio.run(_load_until_it_ends(pod, lambda: kill(pod.torchserve)))
        text = pod.text()
    record(2, "kill -9 of TorchServe", {"pod_ended_after_s": round(took, 2), **tally.figures()})
    assert pod.supervisor.returncode == 1
    assert "TorchServe" in text
    assert "was ended by SIGKILL. Stopping everything; the exit status is 1." in text
    assert tally.outcomes["late"] == tally.outcomes["wrong"] == tally.outcomes["lost"] == 0, tally.faults[:5]


def test_torchserve_hangs_for_good(make_pod: MakePod) -> None:
    """Stopped and never continued: refused at once, then ended after --hang_limit."""
    with make_pod(options=["--hang_limit", "3"], wrapper=["--request_timeout", "2"]) as pod:
        torchserve = pod.torchserve
        tally, took = asyncio.run(_load_until_it_ends(pod, lambda: kill(torchserve, signal.SIGSTOP)))
        text = pod.text()
    record(2, "TorchServe hangs for good, --hang_limit 3", {"pod_ended_after_s": round(took, 2), **tally.figures()})
    assert pod.supervisor.returncode == 1
    assert "TorchServe hangs or does not recover" in text
    assert not exists(torchserve)
    assert tally.outcomes["late"] == tally.outcomes["wrong"] == tally.outcomes["lost"] == 0, tally.faults[:5]


def test_a_pod_held_still_for_longer_than_a_hang_goes_on(make_pod: MakePod) -> None:
    """A suspended machine or a frozen container: all stood still, so nobody hung."""
    with make_pod(options=["--hang_limit", "8"]) as pod:
        still = [pod.supervisor.pid, *descendants(pod.supervisor.pid)]
        for pid in still:
            kill(pid, signal.SIGSTOP)
        time.sleep(20)
        for pid in still:
            kill(pid, signal.SIGCONT)
        ends = time.monotonic() + 6
        while time.monotonic() < ends:
            assert pod.supervisor.poll() is None, pod.text()
            time.sleep(0.1)
        assert pod.status("/v2/health/live") == 200
        until(pod.ready, "the pod is ready again")
    assert "not live any more" not in pod.text()


async def _load_until_it_ends(pod: Pod, harm: Callable[[], None]) -> tuple[Tally, float]:
    """Load, harm, and load until the supervisor has ended; what became of it, and after how long."""
    async with Background(pod.http_port, both_models, 8, limit=HANG, pause=0.01) as tally:
        await in_thread(until, lambda: tally.outcomes["right"] >= 40, "the load runs")
        started = time.monotonic()
        harm()
        await in_thread(until, lambda: pod.supervisor.poll() is not None, "the pod ends", PATIENCE)
        return tally, time.monotonic() - started


def test_queue_filled_from_elsewhere(make_pod: MakePod) -> None:
    """Somebody else keeps TorchServe's queue full for a while: requests are offered again until there is room."""
    with make_pod(models=("faulty",), settings={"job_queue_size": "2"}, wrapper=["--request_timeout", "8"]) as pod:
        tally = asyncio.run(_fill_the_queue(pod))
    record(2, "TorchServe's queue of 2 kept full by others", tally.figures())
    assert not tally.faults, tally.faults[:5]
    assert tally.outcomes["right"] > 0
    # Whoever gets none in time hears why.
    assert all("no free worker" in cause or "deadline" in cause for cause in tally.causes), tally.causes


async def _fill_the_queue(pod: Pod) -> Tally:
    stop = asyncio.Event()

    async def other() -> None:
        while not stop.is_set():
            await in_thread(_occupy, pod)

    others = [asyncio.ensure_future(other()) for _ in range(6)]
    tally = Tally()
    load = asyncio.ensure_future(run_load(pod.http_port, echoes, 8, limit=HANG, stop=stop, tally=tally))
    await asyncio.sleep(3)
    stop.set()
    await asyncio.gather(load, *others)
    client_after = await run_load(pod.http_port, echoes, 4, 40, limit=HANG)
    assert client_after.outcomes["right"] == 40
    return tally


def _occupy(pod: Pod) -> None:
    headers = {"Authorization": f"Bearer {pod.key('inference')}", "Content-Type": "application/json"}
    body = json.dumps({"instances": ["sleep:0.2:x"]}).encode()
    request = urllib.request.Request(f"{pod.inference}/v1/models/faulty:predict", body, headers)
    try:
        urllib.request.urlopen(request, timeout=30).read()
    except urllib.error.HTTPError as error:
        error.close()
