"""The tests that need a GPU, run by pytest in a process of its own; what it reached counts when time runs out."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

from benchmarks.environments import ROOT

TESTS = [f"tests/unit/mnist_handler/compute/{name}" for name in ("test_cuda_graphs.py", "test_cuda.py")]
_LINE = re.compile(r"^(\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED)\b")


class Tests:
    """A run of pytest; ``place`` takes its log."""

    def __init__(self, place: Path) -> None:
        self.log = place / "tests.log"
        # Warnings are not errors here: this machine's versions are not the pinned ones.
        options = ["-v", "-p", "no:cacheprovider", "-o", "filterwarnings=", "-o", "addopts=", "--tb=short"]
        paths = [str(ROOT), os.environ.get("PYTHONPATH")]
        with self.log.open("w") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "pytest", *options, *TESTS],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    def wait(self, seconds: float) -> Dict[str, Any]:
        """Counts by outcome, the failed tests' names, and the log's end where something failed or time ran out."""
        late = False
        try:
            self.popen.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            late = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        return outcome(self.log.read_text(errors="replace"), late, self.popen.returncode)


def outcome(text: str, late: bool, status: int) -> Dict[str, Any]:
    """What a log of ``pytest -v`` says."""
    found: List[Any] = [match.groups() for match in map(_LINE.match, text.splitlines()) if match]
    counts = {kind.lower(): sum(one == kind for _, one in found) for kind in ("PASSED", "FAILED", "ERROR", "SKIPPED")}
    failed = [name for name, kind in found if kind in ("FAILED", "ERROR")]
    good = status == 0 and not failed and not late
    return {**counts, "failures": failed, "late": late, "end": [] if good else text.splitlines()[-80:]}
