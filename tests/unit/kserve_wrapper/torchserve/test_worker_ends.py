"""What is said of workers that ended without a traceback; their words are those of real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from kserve_wrapper.torchserve.load_log import read
from kserve_wrapper.torchserve.memory_kills import memory_kills
from kserve_wrapper.torchserve.worker_ends import by_status, crash, last_words

START = "Listening on port: /tmp/.ts.sock.9000"
CHATTER = ("[PID]22966", "Torch worker started.", "Python runtime: 3.11.7", "model_name: m, batchSize: 1")


def printed(*lines: str, port: int = 9000) -> List[str]:
    return [f"1000\tW-{port}-m_1.0-stdout\tMODEL_LOG\t{line}" for line in lines]


def failed(port: int = 9000) -> str:
    return f"1000\tW-{port}-m_1.0\tBatchAggregator\tLoad model failed: m, error: Worker died."


def worker_error(text: str) -> List[str]:
    exception = f"org.pytorch.serve.wlm.WorkerInitializationException: {text}"
    return ["1000\tW-9000-m_1.0\tWorkerThread\tBackend worker error", exception, "\tat org.pytorch.serve.wlm.X"]


def ended(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "faulthandler", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("number", "cause", "mend"),
    [
        (signal.SIGSEGV, "SIGSEGV, a segmentation fault", "native library"),
        (signal.SIGILL, "SIGILL, code for another processor", "--instructions"),
        (signal.SIGABRT, "SIGABRT, a native library gave up", "last lines"),
        (signal.SIGBUS, "SIGBUS, memory that a file or /dev/shm does not hold", "/dev/shm"),
        (signal.SIGFPE, "SIGFPE, an arithmetic fault", "native library"),
    ],
)
def test_a_signal_is_named_with_its_place_and_mend(number: signal.Signals, cause: str, mend: str) -> None:
    process = ended(f"import os\ndef load():\n    os.kill(os.getpid(), {number:d})\nload()")
    end = crash(process.stderr.splitlines())
    assert end is not None
    assert end.cause.startswith(f"its process was ended by {cause}")
    assert end.cause.endswith(" in load (<string>, line 3)")
    assert mend in end.mend.lower()
    status = by_status(process.returncode)
    assert status is not None
    assert cause in status.cause
    assert status.mend == end.mend


def test_an_interpreter_that_gives_up_is_told() -> None:
    end = crash(["Fatal Python error: init_fs_encoding: failed to get the Python codec.", "Python runtime state: x"])
    assert end is not None
    assert end.cause == "Python ended: init_fs_encoding: failed to get the Python codec"


def test_a_status_that_is_no_signal_tells_nothing() -> None:
    killed = by_status(-signal.SIGKILL)
    assert killed is not None
    assert "SIGKILL" in killed.cause
    assert by_status(3) is by_status(0) is None


def test_no_words() -> None:
    lines = [*printed(START, *CHATTER), failed()]
    told = read(lines, 100.0).causes["m_1.0"]
    assert "without a word" in told
    for word in ("SIGKILL", "137", "lack of memory", "sys.exit", "more memory"):
        assert word in told


def test_the_kernels_count_is_believed() -> None:
    told = read([*printed(START, *CHATTER, "reading"), failed()], 100.0, killed=2).causes["m_1.0"]
    assert "the kernel has killed 2 of this container for lack of memory" in told


@pytest.mark.parametrize("place", [0, 4])
def test_last_words_are_the_models_own(place: int) -> None:
    """What it prints to standard error may come before what TorchServe's own part printed earlier."""
    said = [*CHATTER]
    said.insert(place, "no licence.")
    assert last_words(said) == "no licence"
    assert "last words were: no licence. " in read([*printed(START, *said), failed()], 100.0).causes["m_1.0"]
    assert last_words(CHATTER) is None


def test_torchserves_time_out() -> None:
    lines = [*printed(START, *CHATTER, "reading"), *worker_error("Backend worker did not respond in given time")]
    # So it says of a question of a client's, too.
    assert read(lines, 100.0).causes == {}
    told = read([*lines, failed()], 100.0).causes["m_1.0"]
    assert "took longer than startupTimeout" in told
    assert "Raise the model's startupTimeout" in told


def test_a_worker_that_cannot_be_started() -> None:
    lines = [*printed("Fatal: no such option"), *worker_error("Backend stream closed.")]
    assert "could not be started: Fatal: no such option. " in read(lines, 100.0).causes["m_1.0"]
    assert "could not be started: Backend stream closed. " in read(lines[1:], 100.0).causes["m_1.0"]


def test_a_traceback_says_more_than_how_the_process_ended() -> None:
    lines = [*printed(START, "Traceback (most recent call last):", "  File", "A: a"), failed()]
    assert read(lines, 100.0).causes["m_1.0"].startswith("A: a")


def test_a_worker_is_heard_out_first() -> None:
    lines = [*printed(START, *CHATTER), failed()]
    found = read(lines, 1.1)
    assert (found.causes, found.unsettled) == ({}, True)
    assert not read(lines, 2.0).unsettled


def test_a_worker_that_served_did_not_fail_to_load() -> None:
    fatal = "Fatal Python error: Segmentation fault"
    lines = [*printed(START, *CHATTER), failed(), *printed(START, *CHATTER, fatal), *printed(START, *CHATTER)]
    assert read(lines, 100.0).causes == {}
    assert "SIGSEGV" in read([*lines, *printed(fatal), failed()], 100.0).causes["m_1.0"]


def test_workers_of_one_model_are_told_apart() -> None:
    one, other = printed(START, *CHATTER, "one"), printed(START, *CHATTER, "other", port=9001)
    mixed = [line for pair in zip(one, other) for line in pair]
    assert "last words were: one" in read([*mixed, failed()], 100.0).causes["m_1.0"]
    assert "last words were: other" in read([*mixed, failed(9001)], 100.0).causes["m_1.0"]


def test_progress_goes_on_by_the_clock_and_ends_with_the_process() -> None:
    lines = printed(START, *CHATTER, "compiling (inductor), 10 s")
    assert read(lines, 1.0).progress["m_1.0"].at(3.4) == "compiling (inductor), 12 s"
    lines += printed("warming, 5 s of at most 45")
    assert read(lines, 1.0).progress["m_1.0"].at(1.0) == "warming, 5 s of at most 45"
    assert read([*lines, failed()], 9.0).progress == {}
    assert read([*lines, *printed("warm after 7.0 s: batches")], 9.0).progress == {}
    assert read([*lines, *printed(START)], 9.0).progress == {}


def test_progress_is_the_newest_workers() -> None:
    """One that was taken away in the middle of it says no more."""
    lines = [*printed(START, "warming, 5 s of at most 45"), *printed(START, port=9001)]
    assert read(lines, 9.0).progress == {}


@pytest.mark.parametrize("name", ["memory.events", "memory/memory.oom_control"])
def test_the_kernels_count_is_read(tmp_path: Path, name: str) -> None:
    assert memory_kills(tmp_path) == 0
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("low 0\nunder_oom 0\noom 9\noom_kill 3\n")
    assert memory_kills(tmp_path) == 3
