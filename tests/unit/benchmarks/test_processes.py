"""Processes are watched by role and stopped with their children."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict

import psutil
import pytest

from benchmarks.processes import ProcessGroup, StartError, Usage, role_of, wait_until
from benchmarks.servers.base import Server

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("up", flush=True)
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
time.sleep(60)
"""


def test_a_group_is_measured_and_ends_with_its_children(tmp_path: Path) -> None:
    group = ProcessGroup("server", [sys.executable, "-c", PARENT], tmp_path, {})
    try:
        wait_until(lambda: group.usage().cpu_s.get("server", 0) > 0.2, [group], 20)
        assert group.usage().peak_mib["server"] > 1
        members = group.members()
        assert len(members) == 2
    finally:
        group.stop()
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in members)


def test_a_server_that_ends_is_told_with_its_log(tmp_path: Path) -> None:
    group = ProcessGroup("server", [sys.executable, "-c", "raise SystemExit('no port')"], tmp_path, {})
    with pytest.raises(StartError, match="no port"):
        wait_until(lambda: False, [group], 20)


def test_usage_since() -> None:
    spent = Usage({"a": 3.0, "b": 1.0}, {"a": 10.0}).since(Usage({"a": 1.0}, {"a": 5.0}))
    assert spent.cpu_s == {"a": 2.0, "b": 1.0}
    assert spent.peak_mib == {"a": 10.0}


@pytest.mark.parametrize(
    ("command", "role"),
    [
        (["java", "-cp", "x", "org.pytorch.serve.ModelServer"], "torchserve"),
        (["python", "/x/ts/model_service_worker.py", "--sock-name", "s"], "worker"),
        (["python", "-m", "kserve_wrapper", "--http_port", "1"], "wrapper"),
        (["python", "-m", "kserve_wrapper.supervisor"], "other"),
        (["mlserver", "start"], "other"),
    ],
)
def test_roles(command: list[str], role: str) -> None:
    assert role_of(command, "other") == role


def test_a_server_beside_others_is_held_still_out_of_its_turn(tmp_path: Path) -> None:
    class Busy(Server):
        name, beside_others = "busy", True

        def launch(self, directory: Path) -> None:
            self.groups = [ProcessGroup("busy", [sys.executable, "-c", "while True: pass"], directory, {})]

        def forms(self) -> Dict[str, Any]:
            return {}

    server = Busy()
    server.launch(tmp_path)
    try:
        (process,) = server.groups[0].members()
        server.rest()
        assert until(lambda: process.status() == psutil.STATUS_STOPPED)
        with server.turn():
            assert until(lambda: process.status() != psutil.STATUS_STOPPED)
        assert until(lambda: process.status() == psutil.STATUS_STOPPED)
    finally:
        server.stop()
    assert not process.is_running()


def until(true: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()
