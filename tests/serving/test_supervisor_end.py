"""How the supervisor ends: drained, because a part died or hung, or before anything was started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, List

import pytest

from scripts.serving import ROOT
from tests.serving import system as systems
from tests.serving.system import System, gone, snapshot, system, until
from tests.unit.deploy.archives import make_mar

NO_MODEL = {"enable_envvars_config": "true"}
ONE_MODEL = {"model_snapshot": snapshot(), "job_queue_size": "10"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("store")
    systems.build(store)
    return store


class Request(threading.Thread):
    """A prediction in the background; ``outcome`` is its answer, or the error that a client saw."""

    def __init__(self, running: System, seconds: float) -> None:
        super().__init__(daemon=True)
        self._running, self._seconds = running, seconds
        self.outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self._running.predict(self._seconds)
        except (OSError, ValueError) as error:
            self.outcome = error


def test_sigterm_drains_and_leaves_nothing(tiny: Path, tmp_path: Path) -> None:
    with system(tiny, tmp_path, ONE_MODEL) as running:
        processes = running.processes()
        assert len(processes) == 4
        place = Path(os.readlink(f"/proc/{running.torchserve()}/cwd"))
        slow = [Request(running, 3.0)]
        time.sleep(0.5)
        slow.append(Request(running, 1.0))
        time.sleep(0.5)
        running.supervisor.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        refused: List[Any] = []
        while any(request.is_alive() for request in slow):
            late = Request(running, 0.0)
            late.join(10)
            refused.append(late.outcome)
            time.sleep(0.1)
        assert running.supervisor.wait(60) == 0
        assert time.monotonic() - begun < 30
        assert [request.outcome for request in slow] == [(200, {"predictions": [3.0]}), (200, {"predictions": [1.0]})]
        assert all(isinstance(outcome, OSError) or outcome[0] == 503 for outcome in refused[2:])
        assert gone(processes)
        assert not place.exists()


def test_when_torchserve_dies_everything_ends(tiny: Path, tmp_path: Path) -> None:
    with system(tiny, tmp_path, ONE_MODEL) as running:
        processes = running.processes()
        # A busy worker outlives TorchServe, if nobody ends it.
        busy = Request(running, 60.0)
        time.sleep(1.0)
        os.kill(running.torchserve(), signal.SIGKILL)
        assert running.supervisor.wait(60) == 1
        assert gone(processes)
        busy.join(10)
        assert busy.outcome is not None
        assert "TorchServe (process" in running.log()
        assert "was ended by SIGKILL. Stopping everything" in running.log()


def test_when_the_wrapper_dies_everything_ends(tiny: Path, tmp_path: Path) -> None:
    with system(tiny, tmp_path, NO_MODEL) as running:
        processes = running.processes()
        os.kill(running.wrapper(), signal.SIGKILL)
        assert running.supervisor.wait(60) == 1
        assert gone(processes)
        assert "the wrapper (process" in running.log()


def test_when_torchserve_hangs_everything_ends(tiny: Path, tmp_path: Path) -> None:
    with system(tiny, tmp_path, NO_MODEL, ["--hang_limit", "2"]) as running:
        processes = running.processes()
        os.kill(running.torchserve(), signal.SIGSTOP)
        assert running.supervisor.wait(60) == 1
        assert gone(processes)
        assert "TorchServe hangs" in running.log()


def test_when_a_worker_never_comes_back_everything_ends(tiny: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    environ = {"OBEDIENT_BROKEN": str(broken), "TS_KSERVE_WORKER_LIMIT": "2"}
    with system(tiny, tmp_path, ONE_MODEL, environ=environ) as running:
        processes = running.processes()
        broken.touch()
        os.kill(running.workers()[0], signal.SIGKILL)
        assert running.supervisor.wait(60) == 1
        until(lambda: gone(processes), "processes gone")
        assert "not live any more: model obedient 1.0 has had no worker for 2 s" in running.log()
        assert "supervisor: TorchServe hangs or does not recover" in running.log()


def test_when_the_supervisor_is_killed_nothing_stays(tiny: Path, tmp_path: Path) -> None:
    with system(tiny, tmp_path, ONE_MODEL) as running:
        processes = running.processes()
        running.supervisor.kill()
        running.supervisor.wait()
        until(lambda: gone(processes), "processes gone")


def refused(tmp_path: Path, text: str, *options: str) -> str:
    """What the supervisor says when it must not start; fails if it starts."""
    config = tmp_path / "config.properties"
    config.write_text(text)
    command = [sys.executable, "-m", "kserve_wrapper.supervisor", f"--ts-config={config}", *options]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("TS_")}
    ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2, ran.stderr
    assert "is process" not in ran.stderr
    return ran.stderr


def test_nothing_is_started_on_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = refused(tmp_path, f"inference_address=http://0.0.0.0:{port}\nmodel_store={tmp_path}\n")
    assert f"inference_address: port {port} on 127.0.0.1 is taken by " in said
    assert f"(process id {os.getpid()})" in said


def test_nothing_is_started_where_workers_could_not_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's path has 107 bytes; a worker whose socket cannot be made ends, again and again."""
    place = tmp_path / ("long" * 25)
    place.mkdir()
    monkeypatch.setenv("TEMP", str(place))
    said = refused(tmp_path, f"model_store={tmp_path}\n")
    assert f"{place}, has too long a name for the workers' sockets" in said
    assert "Set TEMP to a shorter one" in said
    assert list(place.iterdir()) == []


def test_nothing_is_started_without_the_archives(tmp_path: Path) -> None:
    said = refused(tmp_path, f"model_store={tmp_path}\nmodel_snapshot={snapshot()}\n")
    assert f"needs obedient.mar, which is not in {tmp_path}" in said
    assert "nothing was started" in said


def test_a_default_version_that_torchserve_would_pass_over_is_refused(tmp_path: Path) -> None:
    """It reads none of the property models, and serves the archive that it loads last."""
    for version in ("1.0", "2.0"):
        make_mar(tmp_path, "echo", version, f"echo-{version}.mar")
    models = '{"echo":{"1.0":{"defaultVersion":true},"2.0":{"minWorkers":1}}}'
    said = refused(tmp_path, f"model_store={tmp_path}\nload_models=all\nmodels={models}\n")
    assert "models.echo.1.0 has defaultVersion, which TorchServe does not read" in said
    assert "Write model_snapshot in place of load_models and models" in said


def test_nothing_is_started_on_a_broken_file(tmp_path: Path) -> None:
    assert "line 2: job_queue_size: 'ten'" in refused(tmp_path, "\njob_queue_size=ten\n")
    assert "no such directory" in refused(tmp_path, "model_store=/does/not/exist\n")
    assert "model_store is not set" in refused(tmp_path, "")
