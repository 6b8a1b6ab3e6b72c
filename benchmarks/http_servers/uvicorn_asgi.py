"""uvicorn's httptools protocol with a bare ASGI application, and a small subclass for what must hold.

The subclass has what a request that goes well pays for: limits on heads and on slow clients, and an end to the work
for clients that went. Errors in JSON, Host, versions and the count of refusals would come on top, most of them once a
fault.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any, Optional

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from benchmarks.http_servers.asgi import asgi
from kserve_wrapper.httpd.deadline import Deadline
from kserve_wrapper.rest.app import App
from kserve_wrapper.settings import Settings


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits.

    Args:
        settings: of the wrapper.
        given: what uvicorn tells its protocols.
    """

    def __init__(self, settings: Settings, **given: Any) -> None:
        super().__init__(**given)
        self._settings = settings
        self._deadline = Deadline(self.loop)
        self._head_size = 0
        self._in_head = True
        self._task: Optional[asyncio.Task[None]] = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline.set(self._settings.read_timeout, self._late)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._deadline.end()
        super().connection_lost(exc)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            if not self._head_size:
                self._deadline.set(self._settings.read_timeout, self._late)
            self._head_size += len(data)
        super().data_received(data)
        if self._in_head and self._head_size > self._settings.max_header_size:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._head_size = True, 0
        self._deadline.clear()
        super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._task = task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _late(self) -> None:
        self._refuse(408)

    def _refuse(self, status: int) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 %d \r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
            self.transport.close()


async def serve(app: App, settings: Settings) -> None:
    protocol: Any = functools.partial(LimitedProtocol, settings)
    config = uvicorn.Config(
        asgi(app, settings.max_body_size),
        host=settings.host,
        port=settings.http_port,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=2048,
        timeout_keep_alive=settings.timeout_keep_alive,
    )
    await uvicorn.Server(config).serve()
