"""granian, embedded in this event loop, with a bare ASGI application."""

from __future__ import annotations

from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from benchmarks.http_servers.asgi import asgi
from kserve_wrapper.rest.app import App
from kserve_wrapper.settings import Settings


async def serve(app: App, settings: Settings) -> None:
    await embedded(asgi(app, settings.max_body_size), Interfaces.ASGINL, settings).serve()


def embedded(target: Any, interface: Interfaces, settings: Settings) -> Any:
    """granian's server with the settings that it knows; it does not watch for clients that go, which would cost."""
    http = HTTP1Settings(
        header_read_timeout=int(settings.read_timeout * 1000), max_buffer_size=max(8192, settings.max_header_size)
    )
    return Server(
        target,
        address=settings.host,
        port=settings.http_port,
        interface=interface,
        http=HTTPModes.http1,
        http1_settings=http,
        websockets=False,
        backlog=2048,
        log_enabled=False,
    )
