"""Open-loop HTTP load: requests start when a Poisson process says, however slow the answers are.

Latency counts from the intended start, so a stall is charged to every request that it held up (no coordinated
omission; Tene, "How NOT to measure latency"). wrk and h2load are closed-loop: they wait for answers before they
send again. This one is our own because Debian has no such generator, and it is short: asyncio, httptools' parser.

    python -m benchmarks.load.open_loop ADDRESS REQUESTS --rate 500 --seconds 5
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import selectors
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Deque, Dict, List, Optional, Sequence, Tuple

import httptools

from benchmarks.load.figures import LoadError, LoadFigures
from benchmarks.load.request_file import read_requests
from benchmarks.payloads import HttpRequest
from benchmarks.stats import percentile

Job = Tuple[float, bytes]


def wire(request: HttpRequest, address: str) -> bytes:
    """The request's bytes as HTTP/1.1."""
    lines = [f"POST {request.path} HTTP/1.1", f"Host: {address}", f"Content-Length: {len(request.body)}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


def arrivals(rate: float, seconds: float, seed: int) -> List[float]:
    """Seconds at which requests shall start: a Poisson process of ``rate`` a second."""
    random_numbers, now, times = random.Random(seed), 0.0, []
    while True:
        now += random_numbers.expovariate(rate)
        if now >= seconds:
            return times
        times.append(now)


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.intended: Optional[float] = None
        self.transport: Optional[asyncio.Transport] = None
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def send(self, job: Job) -> None:
        self.intended, data = job
        assert self.transport is not None
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        intended, self.intended = self.intended, None
        status = self.parser.get_status_code()
        self.parser = httptools.HttpResponseParser(self)
        if intended is not None:
            self.pool.answered(self, intended, status)

    def close(self) -> None:
        """Ends it; an answer that is still due no longer counts."""
        self.intended = None
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        if self.intended is not None:
            self.pool.answered(None, self.intended, 0)


class Pool:
    """Connections, what waits for one, and what was measured. Latencies in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.all: List[Connection] = []
        self.free: List[Connection] = []
        self.waiting: Deque[Job] = deque()
        self.latencies: List[float] = []
        self.errors = 0

    async def connect(self, address: str, count: int) -> None:
        host, port = address.rsplit(":", 1)
        for _ in range(count):
            _, connection = await self.loop.create_connection(lambda: Connection(self), host, int(port))
            self.all.append(connection)
        self.free = list(self.all)

    async def close(self) -> None:
        for connection in self.all:
            connection.close()
        await asyncio.sleep(0)

    def submit(self, job: Job) -> None:
        if self.free:
            self.free.pop().send(job)
        else:
            self.waiting.append(job)

    def answered(self, connection: Optional[Connection], intended: float, status: int) -> None:
        self.latencies.append(self.loop.time() - intended)
        self.errors += status != 200
        if connection is None:
            return
        if self.waiting:
            connection.send(self.waiting.popleft())
        else:
            self.free.append(connection)


async def drive(
    address: str, requests: Sequence[bytes], rate: float, seconds: float, connections: int, seed: int, grace: float
) -> Dict[str, float]:
    """Sends the arrivals' requests and waits up to ``grace`` seconds for the last answers; unanswered = error."""
    loop = asyncio.get_running_loop()
    pool = Pool(loop)
    await pool.connect(address, connections)
    times, lags = arrivals(rate, seconds, seed), []
    start = loop.time() + 0.05
    for index, moment in enumerate(times):
        intended = start + moment
        delay = intended - loop.time()
        if delay > 0:
            await asyncio.sleep(delay)
        lags.append(max(0.0, loop.time() - intended))
        pool.submit((intended, requests[index % len(requests)]))
        if index % 16 == 0:
            await asyncio.sleep(0)
    end = loop.time() + grace
    while len(pool.latencies) < len(times) and loop.time() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    figures = summary(pool, len(times), seconds, lags)
    await pool.close()
    return figures


def summary(pool: Pool, sent: int, seconds: float, lags: Sequence[float]) -> Dict[str, float]:
    """The run's figures; ``lag_p99_ms`` is how late the generator itself was, part of the latencies."""
    latencies = pool.latencies or [0.0]
    return {
        "requests": len(pool.latencies),
        "seconds": seconds,
        "p50_ms": percentile(latencies, 50) * 1e3,
        "p90_ms": percentile(latencies, 90) * 1e3,
        "p99_ms": percentile(latencies, 99) * 1e3,
        "errors": pool.errors + sent - len(pool.latencies),
        "lag_p99_ms": percentile(lags or [0.0], 99) * 1e3,
        "generator_cpu_s": time.process_time(),
    }


def run(
    address: str, requests: Path, rate: float, seconds: float, seed: int = 1
) -> Tuple[LoadFigures, Dict[str, float]]:
    """Runs the generator in a process of its own; figures, and the generator's own lag and CPU."""
    command = [sys.executable, "-m", "benchmarks.load.open_loop", address, str(requests)]
    command += ["--rate", str(rate), "--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise LoadError(f"the open-loop generator failed: {done.stderr.strip()[-500:]}")
    figures = json.loads(done.stdout)
    own = {name: figures.pop(name) for name in ("lag_p99_ms", "generator_cpu_s")}
    return LoadFigures(**figures), own


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("address", help="host:port")
    parser.add_argument("requests", type=Path, help="file of requests, sent in turn")
    parser.add_argument("--rate", type=float, required=True, help="requests started per second")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=256, help="open connections (default: 256)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--grace", type=float, default=5, help="seconds to wait for the last answers (default: 5)")
    given = parser.parse_args()
    requests = [wire(request, given.address) for request in read_requests(given.requests)]
    # select(2) waits to the microsecond; asyncio's epoll rounds every wait up to a millisecond.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    figures = loop.run_until_complete(
        drive(given.address, requests, given.rate, given.seconds, given.connections, given.seed, given.grace)
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
