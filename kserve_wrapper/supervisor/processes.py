"""Children of the supervisor: each leads a process group, and dies with the supervisor however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Dict, Mapping, Optional, Sequence

from kserve_wrapper.core import lifetime

#: What the supervisor waits for; blocked in it, and free again in its children.
SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


class Child:
    """A running child. ``status`` is its exit status once it was reaped: 0 to 255, or minus a signal's number."""

    def __init__(
        self, name: str, command: Sequence[str], environ: Mapping[str, str], cwd: Optional[Path] = None
    ) -> None:
        self.name = name
        self.status: Optional[int] = None
        prepare = partial(_prepare, os.getpid())
        # A session of its own: Ctrl-C reaches the supervisor alone, and the group holds TorchServe's workers too.
        self._process = subprocess.Popen(
            list(command), env=dict(environ), cwd=cwd, start_new_session=True, preexec_fn=prepare
        )
        self.pid = self._process.pid

    @property
    def running(self) -> bool:
        return self.status is None

    def signal(self, number: int) -> None:
        """To the child alone, if it runs."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill_group(self) -> None:
        """Ends the child and whatever it left behind."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def left_any(self) -> bool:
        """Something of its group exists: itself, or an orphan of it."""
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def reaped(self, status: int) -> None:
        """Takes the status from ``os.waitpid``."""
        self.status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        self._process.returncode = self.status

    def ending(self) -> str:
        """How it ended, for people."""
        if self.status is None:
            return "runs"
        if self.status < 0:
            return f"was ended by {signal.Signals(-self.status).name}"
        return f"exited with status {self.status}"


def become_reaper() -> None:
    """Orphans (TorchServe's workers, when TorchServe dies) come to this process and not to process 1."""
    lifetime.adopt_orphans()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def reap(children: Mapping[int, Child]) -> None:
    """Takes in every process that has ended, orphans included."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        if pid in children:
            children[pid].reaped(status)


def wait_signal(timeout: float) -> Optional[int]:
    """The next of SIGNALS, or None after ``timeout`` seconds."""
    found = signal.sigtimedwait(SIGNALS, max(0.0, timeout))
    return found.si_signo if found else None


def wait_end(children: Sequence[Child], deadline: float, known: Dict[int, Child]) -> Optional[int]:
    """Until all have ended, the monotonic clock passes ``deadline``, or a signal asks for haste (its number)."""
    while any(child.running for child in children) and time.monotonic() < deadline:
        number = wait_signal(min(0.5, deadline - time.monotonic()))
        reap(known)
        if number in (signal.SIGTERM, signal.SIGINT):
            return number
    return None


def wait_gone(children: Sequence[Child], deadline: float, known: Dict[int, Child]) -> None:
    """Until nothing is left of their groups, or the monotonic clock passes ``deadline``."""
    while any(child.left_any() for child in children) and time.monotonic() < deadline:
        wait_signal(0.05)
        reap(known)


def _prepare(supervisor: int) -> None:
    """In the child, before it becomes the program."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    lifetime.end_with_parent(signal.SIGKILL, supervisor)
