"""A real HTTP server on loopback whose answers are scripted byte by byte."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Dict, List, Optional

import orjson

from kserve_wrapper.upstream import address
from kserve_wrapper.upstream.client import Upstream


@dataclass
class Received:
    path: str
    headers: Dict[str, str]
    body: bytes
    #: Number of the connection that it came on.
    connection: int


Answer = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


def response(body: bytes, status: int = 200, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


def write(*parts: bytes, close: bool = False) -> Answer:
    """Answers with these bytes, each part in a packet of its own."""

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if close:
            writer.close()

    return answer


def predictions(*results: Any) -> Answer:
    return write(response(orjson.dumps({"predictions": list(results)})))


async def reset(received: Received, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def silence(received: Received, writer: asyncio.StreamWriter) -> None:
    return


@dataclass
class HttpServer:
    """``async with``; answers each request with the next of the script, the last one for ever."""

    script: List[Answer]
    received: List[Received] = field(default_factory=list)
    connections: int = 0
    _server: Optional[asyncio.AbstractServer] = None
    _writers: List[asyncio.StreamWriter] = field(default_factory=list)

    async def __aenter__(self) -> HttpServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._server is not None:
            self._server.close()
            self.close_connections()
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        if self._server is None:
            raise RuntimeError("the server is not running")
        host, port = self._server.sockets[0].getsockname()  # type: ignore[attr-defined]
        return f"http://{host}:{port}"

    def upstream(self, **options: Any) -> Upstream:
        return Upstream(address.parse(self.url, "inference"), **options)

    def close_connections(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._writers.append(writer)
        try:
            while True:
                received = await self._read(reader, number)
                self.received.append(received)
                await self.script[min(len(self.received), len(self.script)) - 1](received, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Received:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = [line.split(": ", 1) for line in head[1:] if line]
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        return Received(head[0], headers, body, connection)
