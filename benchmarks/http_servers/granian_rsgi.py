"""granian, embedded in this event loop, by its own interface RSGI: headers are text, an answer is one call."""

from __future__ import annotations

from typing import Any

from granian.constants import Interfaces

from benchmarks.http_servers.granian_asgi import embedded
from kserve_wrapper.httpd.messages import Headers, Request, joined
from kserve_wrapper.rest.app import App
from kserve_wrapper.settings import Settings


class RsgiChannel:
    """The whole body at once; the response goes out in one call.

    Args:
        protocol: granian's, of one request.
        max_body: bytes; granian has no such limit.
    """

    def __init__(self, protocol: Any, max_body: int) -> None:
        self.lost = False
        self.max_body = max_body
        self._protocol = protocol

    async def body(self) -> bytes:
        body: bytes = await self._protocol()
        return body

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        named = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        self._protocol.response_bytes(status, named, body)


async def serve(app: App, settings: Settings) -> None:
    async def application(scope: Any, protocol: Any) -> None:
        headers = [(name.encode(), value.encode("latin-1")) for name, value in scope.headers.items()]
        client = scope.client.rpartition(":")[0]
        path = scope.path.encode("latin-1")
        await app(Request(RsgiChannel(protocol, settings.max_body_size), scope.method, path, joined(headers), client))

    await embedded(application, Interfaces.RSGI, settings).serve()
