"""The other end of ``python -m benchmarks.gpu.job``: starts jobs, one ahead, and ends what is late."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from benchmarks.environments import ROOT


class Process:
    """A job in a process of its own. It has imported what it needs when it is told to ``go``.

    Args:
        place: where its results and its log go.
    """

    def __init__(self, name: str, job: Dict[str, Any], place: Path) -> None:
        self.name = name
        stem = name.replace(" ", "-")
        self.results, self.log = place / f"{stem}.jsonl", place / f"{stem}.log"
        self.results.touch()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        if job.get("device") == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""
        with self.log.open("w") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu.job", str(self.results)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                env=environment,
                cwd=ROOT,
                start_new_session=True,  # so that compilers it started end with it
            )
        self._say(json.dumps({**job, "name": name}))

    def go(self) -> None:
        self.started = time.monotonic()
        self._say("go")

    def wait(self, seconds: float) -> List[Dict[str, Any]]:
        """The lines of its results, once it has ended or the seconds are over; the last may be an ``error``."""
        late = False
        try:
            self.popen.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            late = True
        self.stop()
        lines: List[Dict[str, Any]] = [
            json.loads(line) for line in self.results.read_text().splitlines() if line.endswith("}")
        ]
        if late:
            lines.append({"error": f"ended after {seconds:.0f} s"})
        elif self.popen.returncode and not any("error" in line for line in lines):
            tail = self.log.read_text(errors="replace").splitlines()[-5:]
            lines.append({"error": f"ended with {self.popen.returncode}: {' / '.join(tail)[-600:]}"})
        return lines

    def stop(self) -> None:
        """Ends it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        if self.popen.stdin is not None:
            self.popen.stdin.close()

    def _say(self, line: str) -> None:
        assert self.popen.stdin is not None
        try:
            self.popen.stdin.write(line + "\n")
            self.popen.stdin.flush()
        except BrokenPipeError:
            pass  # it ended, and its log says why


class Ahead:
    """Jobs one after another, each started while the one before has its turn."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._next: Optional[Process] = None

    def start(self, name: str, job: Dict[str, Any]) -> None:
        self._next = Process(name, job, self._place)

    def take(self, name: str, job: Dict[str, Any]) -> Process:
        """The process of this job, started ahead or now."""
        ready, self._next = self._next, None
        if ready is not None and ready.name == name:
            return ready
        if ready is not None:
            ready.stop()
        return Process(name, job, self._place)

    def stop(self) -> None:
        if self._next is not None:
            self._next.stop()
