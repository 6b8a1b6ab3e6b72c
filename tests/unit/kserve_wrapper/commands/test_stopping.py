"""How ``ts-kserve serve`` is stopped: by a signal to its process or to its group, gently once and at once twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import pytest

from kserve_wrapper.commands.running import Running

#: In the supervisor's place: says that it listens, and each signal that comes; it ends when there is a file to say so.
CHILD = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
print("listens", flush=True)
while not os.path.exists({end!r}):
    came = signal.sigtimedwait([signal.SIGTERM, signal.SIGINT], 0.05)
    if came:
        print(signal.Signals(came.si_signo).name, flush=True)
"""
PROGRAM = """
import sys
from pathlib import Path
from kserve_wrapper.commands.running import Running
started = Running(Path("none"), {}, [], Path(sys.argv[1]))
started._command = [sys.executable, "-c", sys.argv[2]]
with started:
    print("status", started.wait(), flush=True)
"""


def until(holds: Callable[[], bool]) -> None:
    """Waits for it, a minute at most."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def to_process(pid: int) -> None:
    os.kill(pid, signal.SIGINT)


def to_group(pid: int) -> None:
    """As a terminal does."""
    os.killpg(pid, signal.SIGINT)


def ended(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize("stop", [to_process, to_group, ended])
def test_each_signal_reaches_the_supervisor_once(tmp_path: Path, stop: Callable[[int], None]) -> None:
    log, end = tmp_path / "log", tmp_path / "end"
    command = [sys.executable, "-c", PROGRAM, str(log), CHILD.format(end=str(end))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        until(lambda: log.is_file() and "listens" in log.read_text())
        for times, said in (1, "requests in flight are answered first. Ctrl-C again ends at once."), (2, "at once."):
            stop(process.pid)
            assert process.stdout.readline() == f"Stopping{':' if times == 1 else ''} {said}\n"
            until(lambda sent=times: log.read_text().count("SIGTERM") == sent)  # type: ignore[misc]
        end.touch()
        assert process.stdout.read() == "status 0\n"
    assert log.read_text().split() == ["listens", "SIGTERM", "SIGTERM"]


def test_a_signal_before_the_supervisor_listens_is_a_stop_as_well(tmp_path: Path) -> None:
    log, code = tmp_path / "log", "import time; print('begins', flush=True); time.sleep(600)"
    command = [sys.executable, "-c", PROGRAM, str(log), code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        until(lambda: log.is_file() and "begins" in log.read_text())
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0].splitlines()[-1] == "status 0"


def test_a_second_signal_while_the_first_is_told_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def say(line: str, flush: bool) -> None:
        told.append(line)
        started._asked_to_stop = 2

    monkeypatch.setattr("builtins.print", say)
    started = Running(Path("none"), {}, [], tmp_path / "log")
    started._command = [sys.executable, "-c", "import time; time.sleep(1)"]
    with started:
        started._asked_to_stop = 1
        assert started.wait() == 0
    assert [line.partition(" ")[0] for line in told] == ["Stopping:", "Stopping"]
