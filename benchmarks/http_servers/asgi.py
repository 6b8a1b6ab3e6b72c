"""The wrapper's application as a bare ASGI application: no framework between."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Dict, Optional, Tuple

from kserve_wrapper.core.errors import TooLarge
from kserve_wrapper.httpd.messages import ClientGone, Headers, Request, joined
from kserve_wrapper.rest.app import App

Message = Dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiChannel:
    """The body from ``receive``; keeps the response, since ASGI's ``send`` is awaited.

    Args:
        receive: ASGI's.
        max_body: bytes.
    """

    def __init__(self, receive: Receive, max_body: int) -> None:
        self.lost = False
        self.response: Optional[Tuple[int, Headers, bytes]] = None
        self._receive = receive
        self.max_body = max_body

    async def body(self) -> bytes:
        pieces, more = [], True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.lost = True
                raise ClientGone
            pieces.append(message.get("body", b""))
            more = message.get("more_body", False)
            if sum(map(len, pieces)) > self.max_body:
                raise TooLarge(f"the body is larger than max_body_size, {self.max_body} bytes")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        self.response = status, headers, body


def asgi(app: App, max_body: int) -> Callable[[Message, Receive, Send], Awaitable[None]]:
    """``app`` for any ASGI server; bodies beyond ``max_body`` bytes are refused."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        channel = AsgiChannel(receive, max_body)
        client = scope["client"][0] if scope["client"] else "-"
        await app(Request(channel, scope["method"], scope["raw_path"], joined(scope["headers"]), client))
        if channel.response is not None:
            status, headers, body = channel.response
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return application
