"""What scripts/terminal.py draws."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from scripts import bootstrap, terminal

PROGRAM = """
import sys, time
from scripts.terminal import Step
with Step("Something long", lambda: 0.5):
    time.sleep(0.7)
try:
    with Step("Something that fails"):
        raise KeyError
except KeyError:
    pass
"""


def run_on_terminal(**environ: str) -> str:
    """What the program shows on a terminal."""
    ours, theirs = pty.openpty()
    plain = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(bootstrap.ROOT), **environ}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=plain, stdout=theirs, stdin=subprocess.DEVNULL)
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 65536):
            shown += block
    except OSError:
        pass  # The other end is closed: Linux's end of file for terminals.
    finally:
        os.close(ours)
    assert process.wait(30) == 0
    return shown.decode()


def test_a_terminal_gets_a_bar_then_a_coloured_tick() -> None:
    shown = run_on_terminal(PYTHONIOENCODING="utf-8")
    assert "[############............]" in shown
    assert "\033[32m✓\033[0m Something long" in shown
    assert "\033[31m✗\033[0m Something that fails" in shown


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_none_is_wanted(environ: dict[str, str]) -> None:
    assert "\033" not in run_on_terminal(**environ)


def test_a_pipe_gets_one_plain_line_a_step() -> None:
    environ = {**os.environ, "PYTHONPATH": str(bootstrap.ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, timeout=60)
    first, second = done.stdout.splitlines()
    assert first.startswith("ok Something long (")
    assert second.startswith("FAILED Something that fails (")


@pytest.mark.parametrize("turn", range(0, 100, 7))
def test_a_bar_keeps_its_width(turn: int) -> None:
    assert {len(terminal.bar(fraction, turn)) for fraction in (None, -1.0, 0.0, 0.3, 1.0, 2.0)} == {26}
    assert terminal.bar(None, turn).count("#") == 3
