"""The supervisor with real TorchServe: faults, recovery, tokens; one system for the module."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from pathlib import Path
from typing import Iterator, Set

import pytest

from tests.serving import system as systems
from tests.serving.system import INSTALLED, System, asks_for_tokens, recovers, snapshot, system, until

#: Keys that live this long, in minutes, so that every test meets their renewal.
KEY_MINUTES = "0.15"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("store")
    systems.build(store)
    return store


@pytest.fixture(scope="module")
def running(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    settings = {"model_snapshot": snapshot(), "token_expiration_min": KEY_MINUTES, "enable_envvars_config": "true"}
    folder = tmp_path_factory.mktemp("running")
    # One address for both, as documented: TorchServe would then refuse every management call.
    port = systems.free_port()
    shared = [f"--set=inference_address=http://0.0.0.0:{port}", f"--set=management_address=http://0.0.0.0:{port}"]
    with system(tiny, folder, settings, shared) as found:
        yield found


def key_file(running: System) -> Path:
    return Path(os.readlink(f"/proc/{running.torchserve()}/cwd")) / "key_file.json"


def test_the_documented_shared_address_works_with_tokens(running: System) -> None:
    assert running.predict() == (200, {"predictions": [0.0]})
    assert f"token authorization {'on' if INSTALLED.asks_for_tokens else 'off'}" in running.log()


def test_the_handler_described_itself(running: System) -> None:
    metadata = running.served.get("/v2/models/obedient")
    assert metadata["inputs"] == [{"name": "seconds", "datatype": "FP32", "shape": [-1]}]
    assert metadata["versions"] == ["1.0"]


def test_batches_are_handed_over_by_threads_that_stay(running: System) -> None:
    """On one or two processors Java would start one for each batch."""

    def pool() -> Set[str]:
        tasks = Path(f"/proc/{running.torchserve()}/task").iterdir()
        return {task.name for task in tasks if (task / "comm").read_text().startswith("ForkJoinPool")}

    running.predict()
    threads = pool()
    assert threads
    for _ in range(10):
        running.predict()
    assert pool() & threads


@asks_for_tokens
def test_keys_are_private_and_never_logged(running: System) -> None:
    path = key_file(running)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for purpose in json.loads(path.read_text()).values():
        assert purpose["key"] not in running.log()


@asks_for_tokens
def test_keys_are_renewed_before_they_expire(running: System) -> None:
    before = json.loads(key_file(running).read_text())
    begun = time.monotonic()
    while time.monotonic() - begun < float(KEY_MINUTES) * 60 + 2:
        assert running.predict()[0] == 200
        time.sleep(0.1)
    after = json.loads(key_file(running).read_text())
    assert before["inference"]["key"] != after["inference"]["key"]
    assert before["management"]["key"] != after["management"]["key"]
    assert running.ready()


@recovers
def test_a_killed_worker_is_seen_and_comes_back(running: System) -> None:
    [worker] = running.workers()
    os.kill(worker, signal.SIGKILL)
    until(lambda: not running.ready(), "not ready")
    status, answer = running.predict()
    assert (status, "not ready" in answer["error"]) in ((503, True), (503, False), (200, False))
    until(running.ready, "ready again")
    assert running.predict()[0] == 200
    assert running.workers() != [worker]


def test_a_stopped_torchserve_is_seen_and_comes_back(running: System) -> None:
    os.kill(running.torchserve(), signal.SIGSTOP)
    try:
        until(lambda: not running.ready(), "not ready")
        assert running.served.get("/v2/health/live") == {"live": True}
        assert running.served.exchange("/v1/models/obedient")[0] == 503
    finally:
        os.kill(running.torchserve(), signal.SIGCONT)
    until(running.ready, "ready again")
    assert running.predict()[0] == 200


def test_the_addresses_are_on_loopback(running: System) -> None:
    listening = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()[1:]
    links = {os.readlink(link) for link in Path(f"/proc/{running.torchserve()}/fd").iterdir()}
    hosts = []
    for fields in (line.split() for line in listening[1:]):
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in links:
            hosts.append(fields[1].split(":")[0])
    assert len(hosts) == 5
    if INSTALLED.version < (0, 10):
        # gRPC had no address of its own then.
        hosts = [host for host in hosts if set(host) != {"0"}]
        assert len(hosts) == 3
    assert set(hosts) <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_no_line_for_each_request(running: System) -> None:
    before = running.log().count("\n")
    for _ in range(20):
        assert running.predict()[0] == 200
    assert running.log().count("\n") - before < 10
