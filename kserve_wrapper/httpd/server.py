"""The HTTP server of one process, on a socket and in an event loop that are already there."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from functools import partial
from typing import Optional

from kserve_wrapper.httpd.budget import BodyBudget
from kserve_wrapper.httpd.connection import Application, ConnectionLimits, HttpConnection, Shared
from kserve_wrapper.settings import Settings

#: Connections that the kernel holds until they are taken.
_BACKLOG = 2048


class HttpServer:
    """Listens, and ends connections.

    Args:
        app: answers.
        limits: of connections.
        max_bodies_size: bytes of bodies that are being read, over all connections; 0 = any number.
        tls: None for plain HTTP.
    """

    def __init__(
        self,
        app: Application,
        limits: ConnectionLimits,
        max_bodies_size: int = 0,
        tls: Optional[ssl.SSLContext] = None,
    ) -> None:
        self._shared = Shared(app, limits, BodyBudget(max_bodies_size))
        self._server: Optional[asyncio.AbstractServer] = None
        self.tls = tls

    @property
    def connections(self) -> int:
        """Open ones."""
        return len(self._shared.connections)

    async def start(self, listening: socket.socket) -> None:
        """Takes connections of a bound socket, which is closed in the end. Raises OSError where it cannot listen."""
        protocol = partial(HttpConnection, self._shared)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(protocol, sock=listening, ssl=self.tls, backlog=_BACKLOG)

    def stop_listening(self) -> None:
        """Takes no more connections; those that are there go on."""
        if self._server is not None:
            self._server.close()

    async def stop(self, seconds: float) -> None:
        """Ends all: connections end when they have answered what came, or after ``seconds``."""
        self.stop_listening()
        end = time.monotonic() + seconds
        for connection in list(self._shared.connections):
            connection.shut_down()
        while self._shared.connections and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for connection in list(self._shared.connections):
            connection.abort()
        # They are told in the next turn.
        await asyncio.sleep(0)


def http_server(app: Application, settings: Settings) -> HttpServer:
    """A server for ``app``. Raises OSError for certificates that cannot be read or do not fit."""
    limits = ConnectionLimits(
        header_size=settings.max_header_size,
        body_size=settings.max_body_size,
        read_timeout=settings.read_timeout,
        keep_alive=settings.timeout_keep_alive,
        connections=settings.max_connections,
    )
    return HttpServer(app, limits, settings.max_bodies_size, _tls(settings))


def _tls(settings: Settings) -> Optional[ssl.SSLContext]:
    if not settings.ssl_certfile:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Some builds of Python leave the least version to the system's OpenSSL.
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, settings.ssl_keyfile_password)
    if settings.ssl_ca_certs:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(settings.ssl_ca_certs)
    return context
