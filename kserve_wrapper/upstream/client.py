"""The client of TorchServe's inference address: calls go out over a pool of kept connections."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from typing import Awaitable, Callable, List, Mapping, Optional, Protocol, Set

from kserve_wrapper.core.calls import Call, ModelMetadata, Reply
from kserve_wrapper.core.errors import (
    BadGateway,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    TooLarge,
    WrapperError,
)
from kserve_wrapper.tensors.binary import HEADER_LENGTH
from kserve_wrapper.upstream.address import Address
from kserve_wrapper.upstream.codec import UpstreamRequest, decode_reply, encode_call
from kserve_wrapper.upstream.connection import Connection, Interrupted, Response, dial
from kserve_wrapper.upstream.elements import joined, one_by_one
from kserve_wrapper.upstream.envelopes import wrong_protocol
from kserve_wrapper.upstream.errors import Busy, NotReached, Refused, WorkerLost, read_error

logger = logging.getLogger(__name__)

#: Of a model's name, when its request left (seconds since the epoch) and what came back.
Explain = Callable[[str, float, WrapperError], Awaitable[WrapperError]]

NO_HEADERS: Mapping[str, str] = {}


class Follower(Protocol):
    """Is told how the inference address does."""

    def report_unreachable(self) -> None: ...

    def report_answered(self) -> None: ...


class Upstream:
    """One per process; used from one event loop.

    Args:
        address: TorchServe's inference_address.
        tls: for https.
        follower: is told of answers, and where there was nobody to answer.
        took: is told the seconds of each call, failed ones too.
        authorize: the value of the Authorization header, asked for on every request; None sends none.
        connect_timeout: seconds.
        request_limit: bytes of a request's body; TorchServe's max_request_size. Beyond: TooLarge, unsent.
        response_limit: bytes of an answer's body. Beyond: TooLarge, unread.
        connections: most connections at a time. Beyond: Unavailable.
        envelope: TorchServe's service_envelope.
        explain: makes an error say what the log tells, given the model's name and when its request left.
    """

    def __init__(
        self,
        address: Address,
        tls: Optional[ssl.SSLContext] = None,
        *,
        follower: Optional[Follower] = None,
        took: Optional[Callable[[float], None]] = None,
        authorize: Optional[Callable[[], Optional[str]]] = None,
        connect_timeout: float = 5.0,
        request_limit: int = 6_553_500,
        response_limit: int = 64 * 1024 * 1024,
        connections: int = 256,
        envelope: Optional[str] = None,
        explain: Optional[Explain] = None,
    ) -> None:
        self._address, self._tls = address, tls
        self._authority = address.authority
        self._follower, self._took = follower, took
        self._authorize = authorize
        self._connect_timeout = connect_timeout
        self._request_limit = request_limit
        self._response_limit = response_limit
        self._limit = connections
        self._envelope = envelope
        self._explain = explain
        self._idle: List[Connection] = []
        self._open: Set[Connection] = set()
        self._connecting = 0

    def send(
        self, call: Call, metadata: ModelMetadata, deadline: float, headers: Mapping[str, str] = NO_HEADERS
    ) -> Awaitable[Reply]:
        """Sends one call, at once where a connection is kept for it; to be awaited for its reply.

        Args:
            call: as the handler shall get it.
            metadata: of its handler, which tells the wire form.
            deadline: on ``time.monotonic``.
            headers: that the handler gets to see. Each costs the worker three reads of its socket.

        Raises:
            TooLarge, InvalidRequest: at once; it cannot be sent.
            WrapperError: when awaited, of the class that says what a client should hear. Unseen (an Unavailable) where
                no worker saw the request, NotReached (an Unseen) where TorchServe did not either.
        """
        started = time.monotonic()
        sent = one_by_one(call, metadata, self._envelope)
        request = encode_call(sent, metadata)
        if len(request.body) > self._request_limit:
            raise TooLarge(
                f"the request is larger than TorchServe's limit of {self._request_limit} bytes (max_request_size in "
                "config.properties): send fewer rows in one request"
            )
        key = self._authorize() if self._authorize else None
        response = self._exchange(self._head(request, key, headers), request.body, deadline)
        reply = self._reply(call, metadata, request, key, headers, deadline, response)
        return self._watched(call, started, reply if sent is call else _joined(sent, reply))

    async def aclose(self) -> None:
        """Closes all connections; requests under way end as Unavailable."""
        for connection in list(self._open):
            connection.close()
        self._open.clear()
        self._idle.clear()
        await asyncio.sleep(0)

    async def _watched(self, call: Call, started: float, sent: Awaitable[Reply]) -> Reply:
        try:
            reply = await sent
        except NotReached:
            if self._follower is not None:
                self._follower.report_unreachable()
            raise
        except (WorkerLost, InternalError) as error:
            if self._explain is None:
                raise
            left = time.time() - (time.monotonic() - started)
            raise await self._explain(call.model, left, error) from None
        finally:
            if self._took is not None:
                self._took(time.monotonic() - started)
        if self._follower is not None:
            self._follower.report_answered()
        return reply

    async def _reply(
        self,
        call: Call,
        metadata: ModelMetadata,
        request: UpstreamRequest,
        key: Optional[str],
        headers: Mapping[str, str],
        deadline: float,
        response: Awaitable[Response],
    ) -> Reply:
        try:
            return self._read(call, metadata, await response)
        except Refused:
            # The key may have been replaced since it was read.
            fresh = self._authorize() if self._authorize else None
            if fresh == key:
                raise
        response = self._exchange(self._head(request, fresh, headers), request.body, deadline)
        return self._read(call, metadata, await response)

    def _read(self, call: Call, metadata: ModelMetadata, response: Response) -> Reply:
        try:
            return _read(call, metadata, response)
        except (BadGateway, InternalError):
            wrong = wrong_protocol(call, metadata, self._envelope)
            if wrong is None:
                raise
        # The handler was given what its envelope made of it, and may have stumbled over anything.
        raise InvalidRequest(wrong)

    def _exchange(self, head: bytes, body: bytes, deadline: float) -> Awaitable[Response]:
        """Sends a request, at once where a connection is kept; to be awaited for the response."""
        connection = self._take_idle()
        if connection is None:
            return self._on_new(head, body, deadline)
        return self._on_kept(connection, connection.request(head, body, deadline), head, body, deadline)

    async def _on_kept(
        self, connection: Connection, answer: Awaitable[Response], head: bytes, body: bytes, deadline: float
    ) -> Response:
        try:
            return await self._finish(connection, answer)
        except Interrupted as error:
            # A kept connection that ends without a byte was closed while the request travelled.
            if error.answered:
                raise
        return await self._on_new(head, body, deadline)

    async def _on_new(self, head: bytes, body: bytes, deadline: float) -> Response:
        connection = await self._connect(deadline)
        return await self._finish(connection, connection.request(head, body, deadline))

    async def _finish(self, connection: Connection, answer: Awaitable[Response]) -> Response:
        try:
            response = await answer
        except BaseException:
            self._open.discard(connection)
            raise
        if connection.usable:
            self._idle.append(connection)
        else:
            self._open.discard(connection)
        return response

    def _take_idle(self) -> Optional[Connection]:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            self._open.discard(connection)
        return None

    async def _connect(self, deadline: float) -> Connection:
        if len(self._open) + self._connecting >= self._limit:
            raise Busy("too many requests are on their way to the model server: try again later", 1.0)
        timeout = min(self._connect_timeout, deadline - time.monotonic())
        if timeout <= 0:
            raise DeadlineExceeded("the request's deadline passed before it was sent")
        self._connecting += 1
        try:
            connection = await asyncio.wait_for(dial(self._address, self._tls, self._response_limit), timeout)
        except (OSError, asyncio.TimeoutError) as error:
            logger.warning("TorchServe's inference address is not reachable: %s", error or "timed out")
            raise NotReached("the model server is not reachable", 1.0) from None
        finally:
            self._connecting -= 1
        self._open.add(connection)
        return connection

    def _head(self, request: UpstreamRequest, key: Optional[str], headers: Mapping[str, str]) -> bytes:
        lines = [f"POST {request.path} HTTP/1.1", f"Host: {self._authority}", f"Content-Type: {request.content_type}"]
        lines.append(f"Content-Length: {len(request.body)}")
        if request.header_length is not None:
            lines.append(f"{HEADER_LENGTH}: {request.header_length}")
        if key is not None:
            lines.append(f"Authorization: {key}")
        for name, value in headers.items():
            if not (name.isascii() and value.isascii() and name.isprintable() and value.isprintable()):
                raise InvalidRequest(f"header {name!r} must be printable ASCII")
            # TorchServe's own key goes before a client's.
            if key is None or name != "authorization":
                lines.append(f"{name}: {value}")
        lines.append("\r\n")
        return "\r\n".join(lines).encode("latin-1")


async def _joined(sent: Call, reply: Awaitable[Reply]) -> Reply:
    return joined(sent, await reply)


def _read(call: Call, metadata: ModelMetadata, response: Response) -> Reply:
    if not 200 <= response.status < 300:
        raise read_error(call, metadata, response)
    try:
        return decode_reply(call, response.headers, response.body)
    except BadGateway:
        if response.headers.get("transfer-encoding", "").lower() != "chunked":
            raise
        # TorchServe tells the length of every answer that a handler gives as a whole.
        raise BadGateway(
            f"model {call.model} answers in pieces (send_intermediate_predict_response), for which V1 and V2 inference "
            "have no form: let its handler return one answer, or ask TorchServe's /predictions for the pieces"
        ) from None
