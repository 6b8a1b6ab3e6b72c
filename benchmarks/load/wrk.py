"""Closed-loop HTTP load by wrk (Debian package ``wrk``): C, one thread, so that it takes little from the server."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from benchmarks.load.figures import LoadError, LoadFigures

SCRIPT = Path(__file__).with_name("replay.lua")


def available() -> bool:
    return shutil.which("wrk") is not None


def run(address: str, requests: Path, connections: int, seconds: float, timeout: int = 60) -> LoadFigures:
    """Keeps ``connections`` requests in flight for ``seconds`` (rounded up to whole ones: wrk knows no others).

    Args:
        address: ``host:port``.
        requests: a file of ``request_file.write_requests``; its requests are sent in turn.
        timeout: seconds after which an unanswered request is an error.
    """
    if not available():
        raise LoadError("wrk is not installed: apt-get install wrk")
    command = [
        "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", f"--timeout={timeout}s",
        "-s", str(SCRIPT), f"http://{address}/", "--", str(requests),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + timeout + 30)
    if done.returncode:
        raise LoadError(f"wrk failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout)


def parse(output: str) -> LoadFigures:
    """The figures of wrk's output: the JSON line that replay.lua prints."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise LoadError(f"wrk printed no figures: {output.strip()[-500:]}")
    return LoadFigures(**json.loads(lines[-1]))
