"""Closed-loop gRPC load by h2load (Debian package ``nghttp2-client``).

gRPC is a POST over HTTP/2. h2load sends one fixed message on each connection and is written in C++: a Python
client would cost more CPU than the servers it measures. It does not read ``grpc-status``, so answers are told
from errors by their size: a failed call is trailers alone, without a byte of data.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import List, Tuple

from benchmarks.load.figures import LoadError, LoadFigures
from benchmarks.payloads import grpc_frame
from benchmarks.stats import percentile

METHOD = "/inference.GRPCInferenceService/ModelInfer"


def available() -> bool:
    return shutil.which("h2load") is not None


def run(address: str, message: bytes, answer: int, connections: int, seconds: float, directory: Path) -> LoadFigures:
    """One ModelInfer in flight on each connection, for ``seconds``. Warm the server up before.

    (With h2load's own warm-up, its byte count would include what its request count leaves out.)

    Args:
        message: the serialised request.
        answer: bytes of the serialised right answer.
        directory: where the request and the log of latencies go.
    """
    if not available():
        raise LoadError("h2load is not installed: apt-get install nghttp2-client")
    body, log = directory / "message.bin", directory / "h2load.log"
    body.write_bytes(grpc_frame(message))
    log.unlink(missing_ok=True)
    command = [
        "h2load", "-t1", "-m1", f"-c{connections}", f"-D{seconds:g}",
        "-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers",
        f"--log-file={log}", f"http://{address}{METHOD}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 90)
    if done.returncode:
        raise LoadError(f"h2load failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}")
    return figures(read_log(log.read_text()), done.stdout, len(grpc_frame(b"")) + answer, seconds)


def grpc_call(address: str, message: bytes) -> bytes:
    """The serialised answer to one serialised request; a failed call raises grpc.RpcError."""
    import grpc

    with grpc.insecure_channel(address) as channel:
        answer: bytes = channel.unary_unary(METHOD)(message, timeout=60)
    return answer


def read_log(text: str) -> List[Tuple[int, float]]:
    """(HTTP status, milliseconds) of each request in h2load's log (start, status, microseconds)."""
    entries = []
    for line in text.splitlines():
        _, status, duration = line.split("\t")[:3]
        entries.append((int(status), int(duration) / 1000))
    return entries


def figures(log: List[Tuple[int, float]], output: str, answer: int, seconds: float) -> LoadFigures:
    """Figures from the log and from the totals that h2load prints; ``answer`` counts the frame's 5 bytes."""
    totals = re.search(r"requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored", output)
    data = re.search(r"\((\d+)\) data", output)
    if not totals or not data or not log:
        raise LoadError(f"h2load printed no figures: {output.strip()[-500:]}")
    succeeded, failed, errored = (int(number) for number in totals.groups())
    short = succeeded - int(data.group(1)) // answer
    bad = sum(status != 200 for status, _ in log)
    times = [duration for _, duration in log]
    return LoadFigures(
        len(log),
        seconds,
        percentile(times, 50),
        percentile(times, 90),
        percentile(times, 99),
        max(failed + errored, bad) + max(0, short),
    )
