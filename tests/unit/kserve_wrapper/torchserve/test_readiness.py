"""Readiness against a management address that changes under it; polls are stepped by hand, so nothing sleeps."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict

import pytest

from kserve_wrapper.core.calls import ModelCapacity
from kserve_wrapper.core.errors import NotFound
from kserve_wrapper.torchserve.config import load
from kserve_wrapper.torchserve.load_log import LoadLog
from kserve_wrapper.torchserve.readiness import Readiness, Settings
from kserve_wrapper.torchserve.served import LOAD_PATIENCE
from tests.unit.kserve_wrapper.torchserve.management_server import ManagementServer, serving, version, worker

ROOT = Path(__file__).resolve().parents[4]
Scenario = Callable[[ManagementServer, Readiness], Awaitable[None]]
TOLD = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}], "extensions": ["raw_body"], "note": 1}


async def until(condition: Callable[[], bool]) -> None:
    """Gives the loop turns until it holds."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to hold")


async def poll(readiness: Readiness) -> None:
    """One poll, and the question to a worker that it may lead to."""
    await readiness._poll(listing=True)
    await asyncio.gather(*readiness._tasks)


def follow(scenario: Scenario, settings: Settings = Settings(load_delay=0), **state: Any) -> None:  # noqa: B008
    """Runs a scenario with the documented configuration, which names the model mnist."""

    async def run() -> None:
        config = load(ROOT / "config" / "config.properties", {})
        async with serving(**state) as (server, management):
            await scenario(server, Readiness(management, config, settings))

    asyncio.run(run())


def mnist(*workers: Dict[str, Any]) -> Dict[str, Any]:
    return {"mnist": [version("1.0", *workers)]}


def test_before_torchserve_answers_the_snapshot_is_known_and_not_ready() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        assert readiness.models() == ["mnist"]
        assert not readiness.model_ready("mnist")
        assert not readiness.ready()
        assert readiness.live()
        # What else TorchServe may have, nobody knows yet.
        assert not readiness.model_ready("other")
        assert readiness.workers("other") == 0
        assert readiness.metadata("mnist").versions == []

    follow(scenario)


def test_ready_when_a_worker_is_and_has_answered() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        server.models = mnist(worker(0, "UNLOADING"))
        await poll(readiness)
        assert not readiness.model_ready("mnist")
        assert not readiness.ready()
        server.models = mnist(worker(0), worker(1), worker(2, "UNLOADING"))
        server.customized = {"mnist": TOLD}
        await poll(readiness)
        assert readiness.model_ready("mnist")
        assert readiness.model_ready("mnist", "1.0")
        assert readiness.ready()
        assert readiness.workers("mnist") == 2
        assert readiness.default_version("mnist") == "1.0"
        metadata = readiness.metadata("mnist", "1.0")
        assert metadata.inputs[0].shape == (-1, 1)
        assert (metadata.extensions, metadata.extra, metadata.versions) == (["raw_body"], {"note": 1}, ["1.0"])

    follow(scenario)


def test_capacity_is_what_torchserve_tells() -> None:
    told = {"batchSize": 4, "jobQueueStatus": {"remainingCapacity": 7, "pendingRequests": 3}}

    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        assert readiness.capacity("mnist") == ModelCapacity()
        server.models = {"mnist": [{**version("1.0", worker(0), worker(1)), **told}, version("2.0", worker(2))]}
        await poll(readiness)
        assert readiness.capacity("mnist") == readiness.capacity("mnist", "1.0") == ModelCapacity(2, 4, 10)
        assert readiness.capacity("mnist", "2.0") == ModelCapacity(1)
        assert readiness.capacity("mnist", "3.0") == readiness.capacity("other") == ModelCapacity()

    follow(scenario)


def test_a_worker_that_keeps_failing_is_told_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def process(pid: int) -> Dict[str, Any]:
        return {"id": "9000", "pid": pid, "status": "UNLOADING"}

    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        reasons = []
        for pid in (100, 100, -1, 101, 102, 103):
            server.models = mnist(process(pid))
            await poll(readiness)
            reasons.append(readiness.reason("mnist"))
        assert reasons[:4] == ["its worker is loading, 0 s so far"] * 4
        for reason, times in zip(reasons[4:], (2, 3)):
            assert reason.startswith(
                f"its worker fails to load again and again, {times} times so far; TorchServe's log"
            )
        server.models = mnist(worker(0))
        await poll(readiness)
        assert readiness.reason("mnist") == readiness.reason("mnist", "1.0") == ""

    follow(scenario)
    assert [record.levelname for record in caplog.records if "again and again" in record.message] == ["ERROR"]


def test_a_load_error_is_told_at_once_in_reason_and_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "loads.log"
    loads = LoadLog(path)

    def say(error: str) -> None:
        with path.open("a") as file:
            for line in ("Listening on port: x", "Traceback (most recent call last):", "  File", error):
                file.write(f"1764166870000\tW-9000-mnist_1.0-stdout\tMODEL_LOG\t{line}\n")

    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        readiness._loads = loads
        server.models = mnist(worker(0, "UNLOADING"))
        await poll(readiness)
        assert readiness.reason("mnist") == "its worker is loading, 0 s so far"
        say("RuntimeError: 3 layers")
        for _ in range(2):
            await poll(readiness)
            assert readiness.reason("mnist") == (
                "it does not load: RuntimeError: 3 layers. Mend the handler or the archive"
            )
        say("RuntimeError: 4 layers")
        await poll(readiness)
        server.models = mnist(worker(0))
        await poll(readiness)
        assert readiness.reason("mnist") == ""

    follow(scenario)
    told = [record for record in caplog.records if "does not load" in record.message]
    assert [record.levelname for record in told] == ["ERROR", "ERROR"]
    assert "3 layers" in told[0].message
    assert "4 layers" in told[1].message


@pytest.mark.parametrize("models", [{}, mnist(worker(0, "UNLOADING"))], ids=["unregistered", "loading"])
def test_a_model_that_never_becomes_ready_ends_the_process(models: Dict[str, Any]) -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        await poll(readiness)
        readiness._started -= 601
        assert str(readiness.dead()).startswith("model mnist has not become ready within 600 s: it")
        server.models = mnist(worker(0))
        await poll(readiness)
        assert readiness.live()
        # Once it was ready, the start is over.
        server.models = {}
        await poll(readiness)
        server.models = mnist(worker(1, "UNLOADING"))
        await poll(readiness)
        assert readiness.live()

    follow(scenario, models=models)


def test_a_worker_that_takes_long_to_load_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        assert readiness.reason("mnist") == "the model server does not answer"
        await poll(readiness)
        assert readiness.reason("mnist") == "its worker is loading, 0 s so far"
        assert not readiness.described("mnist")
        loading = readiness._models["mnist"].versions["1.0"]
        loading.loading_since = (loading.loading_since or 0) - LOAD_PATIENCE - 1
        assert readiness.reason("mnist") == "its worker is loading, 21 s so far"
        for _ in range(2):
            await poll(readiness)

    follow(scenario, models=mnist(worker(0, "UNLOADING")))
    told = [record for record in caplog.records if "so far" in record.message]
    assert [record.levelname for record in told] == ["WARNING"]


def test_a_worker_that_warms_up_is_told(tmp_path: Path) -> None:
    path = tmp_path / "loads.log"

    def say(line: str) -> None:
        with path.open("a") as file:
            file.write(f"{time.time() * 1000:.0f}\tW-9000-mnist_1.0-stdout\tMODEL_LOG\t{line}\n")

    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        readiness._loads = LoadLog(path)
        say("Listening on port: x")
        say("warming, 40 s of at most 90")
        await poll(readiness)
        assert re.fullmatch(r"its worker is loading: warming, 4\d s of at most 90", readiness.reason("mnist"))
        say("warm after 42.0 s: batches of 1, 2 rows")
        await poll(readiness)
        assert readiness.reason("mnist") == "its worker is loading, 0 s so far"

    follow(scenario, models=mnist(worker(0, "UNLOADING")))


def test_who_stopped_the_restoring_is_told_of_each_model_that_it_kept_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "loads.log"
    pip = "Custom pip package installation failed for model b"
    said = (f"{pip}:", "ERROR: No matching distribution found for x==1")
    lines = [*said, f"1764166870001\tmain\tSnapshotManager\tError while registering model. Details: {pip}"]
    lines[0] = f"1764166870000\tmain\tModelManager\t{lines[0]}"
    loads = LoadLog(path)
    config = load(ROOT / "config" / "config.properties", {})
    snapshot = dict.fromkeys(("a", "b", "c", "d"), config.models["mnist"])

    async def scenario() -> None:
        models = {"a": [version("1.0", worker(0))], "b": [version("1.0")]}
        async with serving(models=models) as (_, management):
            readiness = Readiness(management, replace(config, models=snapshot), loads=loads)
            await poll(readiness)
            assert readiness.reason("c") == "it is not registered yet"
            path.write_text("\n".join(lines) + "\n")
            for _ in range(2):
                await poll(readiness)
            for name in ("c", "d"):
                assert readiness.reason(name) == (
                    "it is not registered: TorchServe stopped restoring at model b, whose packages could not be "
                    "installed: ERROR: No matching distribution found for x==1. Mend the archive's requirements.txt, "
                    "or give pip an index that has these packages, or remove it"
                )
            assert "requirements.txt" in readiness.reason("b")

    asyncio.run(scenario())
    told = [record.message for record in caplog.records if "stopped restoring" in record.message]
    assert [line[:11] for line in told] == ["model 'c': ", "model 'd': "]


def test_a_model_without_workers_since_pip_failed_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "loads.log"
    pip = "Custom pip package installation failed for model mnist:"
    path.write_text(f"1764166870000\tmain\tModelManager\t{pip}\nERROR: No matching distribution found for x==1\n")
    unborn = {**version("1.0"), "minWorkers": 0}

    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        for _ in range(2):
            await poll(readiness)
            assert readiness.reason("mnist") == "it has no worker"
        readiness._loads = LoadLog(path)
        for _ in range(2):
            await poll(readiness)
            assert readiness.reason("mnist").startswith("it does not load: ERROR: No matching distribution")
        # Scaled to none after it served.
        server.models = mnist(worker(0))
        await poll(readiness)
        server.models = {"mnist": [unborn]}
        await poll(readiness)
        assert readiness.reason("mnist") == "it has no worker"

    follow(scenario, models={"mnist": [unborn]})
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


def test_a_model_that_cannot_be_registered_is_the_culprit_itself(tmp_path: Path) -> None:
    path = tmp_path / "loads.log"
    path.write_text("1\tmain\tSnapshotManager\tError while registering model. Details: Failed to read it.\n")
    config = load(ROOT / "config" / "config.properties", {})
    snapshot = dict.fromkeys(("a", "b", "c"), config.models["mnist"])

    async def scenario() -> None:
        async with serving(models={"a": [version("1.0", worker(0))]}) as (_, management):
            readiness = Readiness(management, replace(config, models=snapshot), loads=LoadLog(path))
            await poll(readiness)
            assert readiness.reason("b") == "it does not load: Failed to read it. Mend the archive"
            assert readiness.reason("c") == (
                "it is not registered: TorchServe stopped restoring at model b: Failed to read it. Mend the archive, "
                "or remove it"
            )

    asyncio.run(scenario())


def test_the_archive_of_a_registered_model_is_known() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        await poll(readiness)
        assert readiness.archives() == {"mnist-2.mar"}
        assert readiness.described("mnist")

    follow(scenario, models={"mnist": [{**version("1.0", worker(0)), "modelUrl": "mnist-2.mar"}]})


def test_not_ready_before_the_worker_has_answered() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        server.instead = {"customized=true": (503, b"{}")}
        await poll(readiness)
        assert readiness.workers("mnist") == 1
        assert not readiness.model_ready("mnist")
        server.instead = {}
        await poll(readiness)
        assert readiness.model_ready("mnist")

    follow(scenario, models=mnist(worker(0)))


def test_a_handler_that_fails_at_the_question_has_answered() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        await poll(readiness)
        assert readiness.model_ready("mnist")
        assert readiness.metadata("mnist").extensions == []

    follow(scenario, models=mnist(worker(0)), instead={"customized=true": (500, b"{}")})


def test_customized_metadata_may_be_required() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        await poll(readiness)
        assert not readiness.model_ready("mnist")
        server.customized = {"mnist": {"anything": 1}}
        await poll(readiness)
        assert readiness.model_ready("mnist")

    follow(scenario, Settings(load_customized=True, load_delay=0), models=mnist(worker(0)))


def test_a_worker_is_asked_once_a_generation() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        def questions() -> int:
            return sum("customized=true" in asked for asked in server.asked)

        for _ in range(3):
            await poll(readiness)
        assert questions() == 1
        server.models = mnist(worker(0), worker(1))
        await poll(readiness)
        assert questions() == 1
        server.models = mnist(worker(0, "UNLOADING"))
        await poll(readiness)
        assert not readiness.model_ready("mnist")
        server.models = mnist(worker(5))
        # Loaded again: ready at once, since it has answered before; asked for what may have changed.
        await readiness._poll(listing=True)
        assert readiness.model_ready("mnist")
        await poll(readiness)
        await poll(readiness)
        assert questions() == 2

    follow(scenario, models=mnist(worker(0)))


def test_unloaded_and_loaded_again() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        await poll(readiness)
        server.models = {}
        await poll(readiness)
        # Somebody unloaded it: the rest of the server is ready, and nothing shows it any more.
        assert readiness.ready()
        assert readiness.models() == []
        assert readiness.workers("mnist") == 0
        for ask in (readiness.model_ready, readiness.metadata, readiness.versions, readiness.reason):
            with pytest.raises(NotFound, match="mnist is not served"):
                ask("mnist")
        server.models = mnist(worker(7))
        server.instead = {"customized=true": (503, b"{}")}
        await poll(readiness)
        assert not readiness.model_ready("mnist")
        assert not readiness.ready()

    follow(scenario, models=mnist(worker(0)))


def test_a_model_of_the_snapshot_that_never_loads_keeps_the_server_from_ready() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        await poll(readiness)
        assert not readiness.ready()
        assert not readiness.model_ready("mnist")

    follow(scenario, models={})


def test_models_registered_later_appear_and_go() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        await poll(readiness)
        with pytest.raises(NotFound, match="other"):
            readiness.model_ready("other")
        server.models = {**mnist(worker(0)), "other": [version("2", worker(1)), version("1", worker(2))]}
        await poll(readiness)
        assert readiness.model_ready("other")
        assert readiness.default_version("other") == "2"
        assert readiness.versions("other") == ["1", "2"]
        assert readiness.model_ready("other", "1")
        with pytest.raises(NotFound, match="version 3"):
            readiness.model_ready("other", "3")
        del server.models["other"]
        await poll(readiness)
        with pytest.raises(NotFound):
            readiness.metadata("other")

    follow(scenario, models=mnist(worker(0)))


def test_a_model_without_workers_by_intent_does_not_hold_the_server_up() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        await poll(readiness)
        assert not readiness.model_ready("idle")
        assert readiness.ready()

    follow(scenario, models={**mnist(worker(0)), "idle": [version("1", minimum=0)]})


def test_torchserve_gone_hung_and_back() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        await poll(readiness)
        server.hung = asyncio.Event()
        await poll(readiness)
        assert not readiness.model_ready("mnist")
        assert not readiness.ready()
        assert readiness.workers("mnist") == 0
        assert readiness.problem == "it does not answer in time"
        server.hung = None
        await poll(readiness)
        assert readiness.model_ready("mnist")

    follow(scenario, Settings(poll_timeout=0.05), models=mnist(worker(0)))


def test_one_silence_is_not_yet_taken_for_torchserves_end() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        await poll(readiness)
        server.hung = asyncio.Event()
        asked = len(server.asked)
        task = asyncio.ensure_future(readiness._poll(listing=False))
        await until(lambda: len(server.asked) > asked)
        server.hung = None
        await task
        assert readiness.problem is None
        assert readiness.model_ready("mnist")

    follow(scenario, Settings(poll_timeout=0.2), models=mnist(worker(0)))


def test_a_management_address_that_is_always_slow_is_waited_for() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        server.hung = asyncio.Event()
        task = asyncio.ensure_future(readiness._poll(listing=True))
        await until(lambda: len(server.asked) == 2)  # the second look has begun, the first is still there
        server.hung.set()
        await task
        assert readiness.problem is None

    follow(scenario, Settings(poll_timeout=2.0), models=mnist(worker(0)))


def test_a_slow_poll_counts_for_nothing_while_requests_are_answered() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        await poll(readiness)
        server.hung = asyncio.Event()
        task = asyncio.ensure_future(readiness._poll(listing=False))
        while not task.done():
            readiness.report_answered()
            await asyncio.sleep(0.005)
        assert readiness.model_ready("mnist")

    follow(scenario, Settings(poll_timeout=0.05), models=mnist(worker(0)))


def test_the_data_path_can_tell_first() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        await poll(readiness)
        readiness.report_unreachable()
        assert not readiness.model_ready("mnist")
        await poll(readiness)
        assert readiness.model_ready("mnist")

    follow(scenario, models=mnist(worker(0)))


def test_live_until_torchserve_has_been_gone_too_long() -> None:
    settings = Settings(start_limit=600, gone_limit=0, worker_limit=600)

    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        assert readiness.live()
        await poll(readiness)
        readiness._seen -= 1
        assert not readiness.live()
        assert "has not answered for 0 s" in (readiness.dead() or "")

    follow(scenario, settings, models=mnist(worker(0)))


def test_not_live_when_a_model_lost_its_workers_for_good() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        server.models = mnist(worker(0, "UNLOADING"))
        await poll(readiness)
        # Not loaded yet: that is no loss.
        assert readiness.live()
        server.models = mnist(worker(0))
        await poll(readiness)
        server.models = mnist(worker(0, "UNLOADING"))
        await poll(readiness)
        assert "mnist 1.0 has had no worker" in (readiness.dead() or "")
        server.models = mnist(worker(3))
        await poll(readiness)
        assert readiness.live()

    follow(scenario, Settings(worker_limit=0))


def test_run_follows_by_itself_and_ends_when_cancelled() -> None:
    async def scenario(server: ManagementServer, readiness: Readiness) -> None:
        task = asyncio.ensure_future(readiness.run())
        server.models = mnist(worker(0))
        await until(readiness.ready)
        server.models = mnist(worker(0, "UNLOADING"))
        await until(lambda: not readiness.ready())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    follow(scenario, replace(Settings(), poll_interval=0.01))
