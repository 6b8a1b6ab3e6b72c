"""The wrapper's application as a bare ASGI application: no framework between."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Dict, Optional, Tuple

from kserve_wrapper.httpd.messages import ClientGone, Headers, Request
from kserve_wrapper.rest.app import App

Message = Dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiChannel:
    """Body pieces from ``receive``; keeps the response, since ASGI's ``send`` is awaited.

    Args:
        receive: ASGI's.
    """

    def __init__(self, receive: Receive) -> None:
        self.lost = False
        self.response: Optional[Tuple[int, Headers, bytes]] = None
        self._receive = receive

    async def receive(self) -> Tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.lost = True
            raise ClientGone
        return message.get("body", b""), message.get("more_body", False)

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        self.response = status, headers, body


def asgi(app: App, max_body: int) -> Callable[[Message, Receive, Send], Awaitable[None]]:
    """``app`` for any ASGI server; bodies beyond ``max_body`` bytes are refused."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        channel = AsgiChannel(receive)
        client = scope["client"][0] if scope["client"] else "-"
        await app(Request(channel, scope["method"], scope["raw_path"], scope["headers"], client, max_body))
        if channel.response is not None:
            status, headers, body = channel.response
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return application
