"""Processes of a server under test: started in a group of their own, watched, and stopped with their children."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

import psutil


class StartError(RuntimeError):
    """A server did not start; the message holds the end of its log."""


@dataclass(frozen=True)
class Usage:
    """CPU seconds so far and peak resident MiB, by role (``java``, ``worker``, ``wrapper`` …)."""

    cpu_s: Dict[str, float]
    peak_mib: Dict[str, float]

    def since(self, before: Usage) -> Usage:
        """CPU spent after ``before``; peaks stay what they are."""
        spent = {role: cpu - before.cpu_s.get(role, 0.0) for role, cpu in self.cpu_s.items()}
        return Usage({role: max(0.0, cpu) for role, cpu in spent.items()}, self.peak_mib)


class ProcessGroup:
    """One command and all its descendants.

    Args:
        role: what its own process is called in the figures.
        command: the command line.
        directory: private: working directory, TMPDIR, and where its log goes.
        environment: added to this process's environment; a value of None removes the name.
    """

    def __init__(
        self, role: str, command: Sequence[str], directory: Path, environment: Mapping[str, Optional[str]]
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.role = role
        self.log = directory / f"{role}.log"
        merged = {**os.environ, "TMPDIR": str(directory), **environment}
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                list(command),
                cwd=directory,
                env={name: value for name, value in merged.items() if value is not None},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def members(self) -> List[psutil.Process]:
        try:
            root = psutil.Process(self.popen.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def usage(self) -> Usage:
        cpu: Dict[str, float] = {}
        peak: Dict[str, float] = {}
        for process in self.members():
            with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                role = role_of(process.cmdline(), self.role)
                times = process.cpu_times()
                cpu[role] = cpu.get(role, 0.0) + times.user + times.system
                peak[role] = max(peak.get(role, 0.0), peak_rss_mib(process.pid))
        return Usage(cpu, peak)

    def signal(self, number: int) -> None:
        """Sends a signal to all of its processes."""
        for process in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def check(self) -> None:
        if self.popen.poll() is not None:
            raise StartError(f"{self.role} ended with {self.popen.returncode}:\n{self.tail()}")

    def stop(self, patience: float = 15) -> None:
        """SIGTERM to the root, then SIGKILL to what is left of the group's processes."""
        members = self.members()
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(patience)
        for process in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.popen.wait(5)
        psutil.wait_procs(members, timeout=5)


def role_of(command: Sequence[str], default: str) -> str:
    """The role of a process by its command line: TorchServe's two kinds are told apart, the rest is ``default``."""
    line = " ".join(command)
    if "org.pytorch.serve.ModelServer" in line:
        return "torchserve"
    if "model_service_worker.py" in line:
        return "worker"
    if "kserve_wrapper" in line and "supervis" not in line:
        return "wrapper"
    return default


def peak_rss_mib(pid: int) -> float:
    """The kernel's high-water mark of a process's resident memory (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def wait_until(ready: object, groups: Sequence[ProcessGroup], seconds: float) -> None:
    """Calls ``ready`` until it says True; fails with the log when a process ends or the time is over."""
    assert callable(ready)
    end = time.monotonic() + seconds
    while not ready():
        for group in groups:
            group.check()
        if time.monotonic() > end:
            logs = "\n".join(f"--- {group.role}\n{group.tail()}" for group in groups)
            raise StartError(f"not ready after {seconds:.0f} s\n{logs}")
        time.sleep(0.2)
