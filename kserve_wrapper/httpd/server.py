"""The HTTP server: uvicorn, with our protocol, on a socket and in an event loop that are already there."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from typing import Any, Iterator, List, Optional

import uvicorn

from kserve_wrapper.httpd.connection import Application, ConnectionLimits, HttpConnection
from kserve_wrapper.settings import Settings


class HttpServer(uvicorn.Server):
    """uvicorn without its own signal handlers: whoever runs it stops it with ``should_exit``.

    To be made within the event loop that serves.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        #: Set as soon as it listens.
        self.listening = asyncio.Event()

    async def startup(self, sockets: Optional[List[socket.socket]] = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    def stop_listening(self) -> None:
        """Takes no more connections; those that are there go on."""
        for server in self.servers:
            server.close()

    def install_signal_handlers(self) -> None:
        """Older versions ask here."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Newer versions ask here."""
        yield


def http_server(app: Application, settings: Settings) -> HttpServer:
    """A server for ``app``. Raises OSError for certificates that cannot be read or do not fit."""
    limits = ConnectionLimits(
        header_size=settings.max_header_size,
        body_size=settings.max_body_size,
        read_timeout=settings.read_timeout,
        keep_alive=settings.timeout_keep_alive,
    )
    protocol: Any = functools.partial(HttpConnection, app, limits)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        backlog=2048,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
        ssl_keyfile_password=settings.ssl_keyfile_password,
        ssl_ca_certs=settings.ssl_ca_certs,
        ssl_cert_reqs=2 if settings.ssl_ca_certs else 0,
    )
    # Now rather than when it serves: certificates that do not fit end the start.
    config.load()
    if config.ssl is not None:
        # Some builds of Python leave the least version to the system's OpenSSL.
        config.ssl.minimum_version = max(config.ssl.minimum_version, ssl.TLSVersion.TLSv1_2)
    return HttpServer(config)
