"""A short load on a running server: how many requests a second, and how long each takes, by connections.

    ts-kserve bench http://127.0.0.1:8080 --model my_model --request my_model/example.json

Each connection sends its next request when it has the answer to the last (closed loop). Where client and server share a
machine's processors, the client's work is in the figures: compare them before and after a change, not with others'.
Exit status: 0, 1 where an answer was no 200, 2 where nothing could be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import urlsplit

from kserve_wrapper.archiver import BuildError, read_request
from kserve_wrapper.commands.explain import WrongArgument, only_model
from kserve_wrapper.modelstore.examples import v2_request
from kserve_wrapper.trying.client import Server, ServerError

#: Seconds before the clock counts, for caches and batch sizes to warm.
_WARM = 0.5


@dataclass
class Round:
    """What one number of connections came to; ``latencies`` are seconds of the answers with 200."""

    connections: int
    seconds: float
    latencies: List[float] = field(default_factory=list)
    failures: List[str] = field(default_factory=list)

    def line(self) -> str:
        rate = len(self.latencies) / self.seconds
        # Where nothing was answered there is no latency, and 0 would pass for a quick one.
        found = [percentile(self.latencies, share) * 1e3 for share in (0.5, 0.95, 0.99)] if self.latencies else []
        figures = [f"{value:8.2f}" for value in found] or [f"{'-':>8}"] * 3
        return f"{self.connections:11} {rate:11.1f} {' '.join(figures)} {len(self.failures):7}"


HEAD = "connections  requests/s   p50 ms   p95 ms   p99 ms  errors"


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    options = parser().parse_args(arguments)
    try:
        server = Server(options.url)
        model = options.model or only_model(server)
        request = read_request(options.request) if options.request else v2_request(server.metadata(model))
    except (WrongArgument, ServerError, BuildError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if request is None:
        print(f"bench: {model} does not say what it takes: give a request by --request FILE", file=sys.stderr)
        return 2
    content = message(options.url, model, request)
    print(f"{model}, {len(json.dumps(request)):,} bytes a request\n{HEAD}", flush=True)
    rounds = []
    for connections in options.connections:
        rounds.append(asyncio.run(measure(options.url, content, connections, options.seconds)))
        print(rounds[-1].line(), flush=True)
    failures = [text for one in rounds for text in one.failures]
    if failures:
        print(f"bench: {len(failures)} requests failed; the first: {failures[0]}", file=sys.stderr)
    return 1 if failures else 0


def message(url: str, model: str, request: Mapping[str, Any]) -> bytes:
    """The request as it goes over a connection, V1 or V2 by what it holds."""
    path = f"/v1/models/{model}:predict" if "instances" in request else f"/v2/models/{model}/infer"
    body = json.dumps(request).encode()
    head = f"POST {urlsplit(url).path.rstrip('/')}{path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def measure(url: str, content: bytes, connections: int, seconds: float) -> Round:
    """One round of ``seconds``, after a moment that does not count."""
    begin = time.monotonic() + _WARM
    found = Round(connections, seconds)
    await asyncio.gather(*(_client(url, content, begin, begin + seconds, found) for _ in range(connections)))
    return found


async def _client(url: str, content: bytes, begin: float, end: float, found: Round) -> None:
    streams: Optional[Tuple[asyncio.StreamReader, asyncio.StreamWriter]] = None
    while time.monotonic() < end:
        start = time.monotonic()
        try:
            if streams is None:
                streams = await _connect(url)
            status, body = await _exchange(*streams, content)
        except (OSError, EOFError, ValueError) as error:
            found.failures.append(f"{type(error).__name__}: {error}")
            streams = None
            await asyncio.sleep(0.05)
            continue
        now = time.monotonic()
        if status != 200:
            found.failures.append(f"{status}: {body[:300].decode('utf-8', 'replace')}")
        elif start >= begin and now <= end:
            found.latencies.append(now - start)
    if streams is not None:
        streams[1].close()


async def _connect(url: str) -> Tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    return await asyncio.open_connection(parts.hostname, parts.port or (443 if secure else 80), ssl=secure or None)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, content: bytes) -> Tuple[int, bytes]:
    """Status and body of one answer that has a Content-Length, as the wrapper's have."""
    writer.write(content)
    await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
    body = await reader.readexactly(int(headers["content-length"]) if "content-length" in headers else 0)
    if headers.get("connection", "").lower() == "close":
        writer.close()
        raise ConnectionResetError("the server closes its connections: is it ending?")
    return int(lines[0].split(" ")[1]), body


def percentile(values: Sequence[float], share: float) -> float:
    """The least of the values that ``share`` of them do not exceed (nearest rank); 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)] if ordered else 0.0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="ts-kserve bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("url", type=_base, metavar="URL", help="the server, http://HOST:PORT")
    made.add_argument("--model", help="its name; not needed where there is one")
    made.add_argument("--request", type=Path, metavar="FILE", help="V1 or V2 JSON (default: a row of ones, V2)")
    made.add_argument("--connections", type=_numbers, default=[1, 8, 64], metavar="N,…", help="default: 1,8,64")
    made.add_argument("--seconds", type=_seconds, default=3.0, help="for each (default: %(default)g)")
    return made


def _base(text: str) -> str:
    if not text.startswith(("http://", "https://")) or not urlsplit(text).hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is no address: write http://HOST:PORT")
    return text.rstrip("/")


def _numbers(text: str) -> List[int]:
    found = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if not all(0 < number <= 4096 for number in found):
        raise argparse.ArgumentTypeError(f"{text!r}: write numbers of connections, 1 to 4096, such as 1,8,64")
    return found


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds up to 600")
    return value
