"""A small HTTP/1.1 client for TorchServe's management and metrics: a few requests a second, none worth a pool.

Each request has a connection of its own, which this side closes: TorchServe resets what it closes itself
(SO_LINGER 0), and a reset may destroy an answer that was not read yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Dict, List, Mapping, Optional, Tuple
from urllib.parse import quote

import httptools

from kserve_wrapper.core.errors import BadGateway, DeadlineExceeded, Unavailable
from kserve_wrapper.torchserve.address import Address

MAX_BODY = 16 * 1024 * 1024


async def request(
    address: Address,
    tls: Optional[ssl.SSLContext],
    method: str,
    target: str,
    headers: Mapping[str, str],
    timeout: float,
) -> Tuple[int, bytes]:
    """Status and body of the answer.

    Args:
        target: path and query, already percent-encoded.
        timeout: seconds for all of it, connecting included.

    Raises:
        Unavailable: nothing listens there, or it hung up.
        DeadlineExceeded: no answer in time.
        BadGateway: what came is not HTTP, or too much of it.
    """
    try:
        return await asyncio.wait_for(_exchange(address, tls, method, target, headers), timeout)
    except asyncio.TimeoutError:
        raise DeadlineExceeded(f"TorchServe's {address.purpose} address did not answer within {timeout:g} s") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Unavailable(f"TorchServe's {address.purpose} address cannot be reached: {reason}") from None


async def _exchange(
    address: Address,
    tls: Optional[ssl.SSLContext],
    method: str,
    target: str,
    headers: Mapping[str, str],
) -> Tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=tls)
    try:
        lines = {"Host": f"{address.host}:{address.port}", "Content-Length": "0", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("ascii"))
        answer = _Answer(address.purpose)
        while not answer.complete:
            data = await reader.read(65536)
            if not data:
                raise Unavailable(f"TorchServe's {address.purpose} address hung up before it answered")
            answer.feed(data)
        return answer.status, b"".join(answer.body)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class _Answer:
    """httptools' callbacks for one response."""

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose
        self._parser = httptools.HttpResponseParser(self)
        self._size = 0
        self.status = 0
        self.body: List[bytes] = []
        self.complete = False

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            raise BadGateway(f"TorchServe's {self._purpose} address answered something that is not HTTP") from None

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > MAX_BODY:
            raise BadGateway(f"TorchServe's {self._purpose} address answered more than {MAX_BODY} bytes")
        self.body.append(body)

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.complete = True


def query(parameters: Mapping[str, object]) -> str:
    """``?a=1&b=x`` from what is not None; booleans as TorchServe reads them."""

    def text(value: object) -> str:
        return quote(str(value).lower() if isinstance(value, bool) else str(value), safe="")

    pairs: Dict[str, str] = {name: text(value) for name, value in parameters.items() if value is not None}
    return "?" + "&".join(f"{name}={value}" for name, value in pairs.items()) if pairs else ""
