"""The fronts on real sockets, in a thread of this process."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType
from typing import Any, Optional, Type

from kserve_wrapper.core.sockets import bind
from kserve_wrapper.httpd.server import http_server
from kserve_wrapper.rpc.server import GrpcServer
from kserve_wrapper.settings import Settings
from tests.unit.kserve_wrapper.fakes import Front


class Live:
    """Serves a ``Front`` at free ports of the loopback while the context lasts.

    Args:
        front: what to serve.
        grpc: whether to serve gRPC, too.
        settings: by name.
    """

    def __init__(self, front: Front, grpc: bool = False, **settings: Any) -> None:
        self.front = front
        self._settings = Settings(host="127.0.0.1", http_port=0, grpc_port=0, **settings)
        self._with_grpc = grpc
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.http_port = 0
        self.grpc_port = 0

    def __enter__(self) -> Live:
        self._thread.start()
        assert self._started.wait(20)
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def run(self, function: Any) -> Any:
        """Runs a function in the server's loop."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)

    def connect(self) -> socket.socket:
        """A connection to HTTP that waits for at most 10 s."""
        return socket.create_connection(("127.0.0.1", self.http_port), timeout=10)

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        listening = bind("127.0.0.1", 0)
        self.http_port = listening.getsockname()[1]
        self.server = server = http_server(self.front.app, self._settings)
        await server.start(listening)
        grpc = None
        if self._with_grpc:
            grpc = GrpcServer(self.front.plane, self.front.metrics, self._settings)
            self.grpc_port = await grpc.start(0)
        self._started.set()
        await self._stop.wait()
        if grpc is not None:
            await grpc.stop(0)
        await server.stop(0)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    received = b""
    while True:
        data = connection.recv(65536)
        if not data:
            return received
        received += data
