"""The other end of ``python -m benchmarks.worker``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

from benchmarks.environments import ROOT


class WorkerFailed(RuntimeError):
    """The worker's process ended; the message holds the end of its log."""


class Worker:
    """A loaded archive in a process of its own, so that two of them can take turns in one run."""

    def __init__(self, archive: Path, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / "worker.log"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.log.open("w") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker", str(archive), str(directory / "model")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        self._read()

    def ask(self, **command: Any) -> Dict[str, Any]:
        """One command's figures; raises WorkerFailed when the process ends over it."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps(command) + "\n")
        self.popen.stdin.flush()
        return self._read()

    def _read(self) -> Dict[str, Any]:
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line:
            self.popen.wait(60)
            raise WorkerFailed("\n".join(self.log.read_text(errors="replace").splitlines()[-20:]))
        figures: Dict[str, Any] = json.loads(line)
        return figures

    def stop(self) -> None:
        if self.popen.stdin is not None:
            self.popen.stdin.close()
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
