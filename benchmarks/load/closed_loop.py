"""Closed-loop HTTP load in Python, for machines without wrk: it costs more CPU and tops out near 5,000 requests/s.

python -m benchmarks.load.closed_loop ADDRESS REQUESTS --connections 64 --seconds 3
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from benchmarks.load.figures import LoadError, LoadFigures
from benchmarks.load.open_loop import Connection, Pool, wire
from benchmarks.load.request_file import read_requests
from benchmarks.stats import percentile


class ClosedPool(Pool):
    """Every connection sends its next request when the last is answered, until ``end``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, requests: Sequence[bytes]) -> None:
        super().__init__(loop)
        self.requests = itertools.cycle(requests)
        self.end = 0.0

    def begin(self, seconds: float) -> None:
        self.end = self.loop.time() + seconds
        for connection in self.free:
            connection.send((self.loop.time(), next(self.requests)))

    def answered(self, connection: Optional[Connection], intended: float, status: int) -> None:
        now = self.loop.time()
        if now > self.end:
            return
        self.latencies.append(now - intended)
        self.errors += status != 200
        if connection is not None:
            connection.send((now, next(self.requests)))


async def drive(address: str, requests: Sequence[bytes], connections: int, seconds: float) -> Dict[str, Any]:
    """The run's figures; requests in flight at its end do not count, as with wrk."""
    pool = ClosedPool(asyncio.get_running_loop(), requests)
    await pool.connect(address, connections)
    pool.begin(seconds)
    await asyncio.sleep(seconds)
    await pool.close()
    latencies = pool.latencies or [0.0]
    times = {f"p{percent}_ms": percentile(latencies, percent) * 1e3 for percent in (50, 90, 99)}
    return {"requests": len(pool.latencies), "seconds": seconds, **times, "errors": pool.errors}


def run(address: str, requests: Path, connections: int, seconds: float) -> LoadFigures:
    """Runs the generator in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.load.closed_loop", address, str(requests)]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise LoadError(f"the closed-loop generator failed: {done.stderr.strip()[-500:]}")
    return LoadFigures(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("address", help="host:port")
    parser.add_argument("requests", type=Path, help="file of requests, sent in turn")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3)
    given = parser.parse_args()
    requests = [wire(request, given.address) for request in read_requests(given.requests)]
    print(json.dumps(asyncio.run(drive(given.address, requests, given.connections, given.seconds))))


if __name__ == "__main__":
    main()
