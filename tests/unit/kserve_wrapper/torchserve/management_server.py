"""A small management address on a real socket, whose answers a test sets."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, List, Optional, Tuple
from urllib.parse import unquote, urlsplit

from kserve_wrapper.torchserve.management import Management
from kserve_wrapper.torchserve.tokens import KeyFile
from kserve_wrapper.upstream.address import Address


def worker(number: int, status: str = "READY") -> Dict[str, Any]:
    return {"id": str(9000 + number), "pid": 100 + number, "status": status}


def version(number: str, *workers: Dict[str, Any], minimum: int = 1) -> Dict[str, Any]:
    return {"modelVersion": number, "minWorkers": minimum, "workers": list(workers)}


@dataclass
class ManagementServer:
    """What it serves, in TorchServe's forms, and what it was asked."""

    #: By name, the default version first.
    models: Dict[str, List[Dict[str, Any]]] = field(default_factory=dict)
    #: What a worker tells of itself, by model; absent: a handler without a describe.
    customized: Dict[str, Any] = field(default_factory=dict)
    #: Requests whose path contains a key get this status and body instead.
    instead: Dict[str, Tuple[int, bytes]] = field(default_factory=dict)
    asked: List[str] = field(default_factory=list)
    #: Set to let hung requests go on.
    hung: Optional[asyncio.Event] = None
    port: int = 0

    @property
    def address(self) -> Address:
        return Address("http", "127.0.0.1", self.port, "127.0.0.1")

    def answer(self, method: str, target: str) -> Tuple[int, bytes]:
        for part, answer in self.instead.items():
            if part in target:
                return answer
        url = urlsplit(target)
        names = [unquote(part) for part in url.path.split("/")[2:]]
        if method != "GET":
            return 200, b'{"status": "done"}'
        if not names:
            return 200, json.dumps({"models": [{"modelName": name} for name in sorted(self.models)]}).encode()
        found = self.models.get(names[0], [])
        if names[1:] != ["all"]:
            found = [v for v in found if v["modelVersion"] == names[1]] if names[1:] else found[:1]
        if not found:
            return 404, b'{"code": 404, "type": "ModelNotFoundException", "message": "no"}'
        if "customized=true" in url.query and names[0] in self.customized:
            found = [{**found[0], "customizedMetadata": self.customized[names[0]]}]
        return 200, json.dumps(found).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b" ", 2)
            self.asked.append(f"{method.decode()} {target.decode()}")
            if self.hung is not None:
                await self.hung.wait()
            status, body = self.answer(method.decode(), target.decode())
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
            await reader.read()
        except asyncio.IncompleteReadError:
            return


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    """A server on a free port, which is yielded; no connection outlives the block."""
    tasks: List[asyncio.Task[None]] = []
    writers: List[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.append(asyncio.ensure_future(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A task that is cancelled before its first step closes nothing.
        for writer in writers:
            writer.close()


@asynccontextmanager
async def serving(**state: Any) -> AsyncIterator[Tuple[ManagementServer, Management]]:
    """A server with this state on a free port, and a client of it."""
    server = ManagementServer(**state)
    async with listening(server.serve) as port:
        server.port = port
        yield server, Management(server.address, KeyFile(None))
