"""One request on a connection of its own: for questions that come a few times a second, none worth a pool.

This side closes the connection: TorchServe resets what it closes itself (SO_LINGER 0), and a reset may destroy an
answer that was not read yet.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Mapping, Optional

from kserve_wrapper.core.errors import BadGateway, DeadlineExceeded, TooLarge, Unavailable
from kserve_wrapper.upstream.address import Address
from kserve_wrapper.upstream.connection import Response, dial

#: Bytes that an answer's body may have.
MAX_BODY = 16 * 1024 * 1024


async def request(
    address: Address,
    tls: Optional[ssl.SSLContext],
    method: str,
    target: str,
    headers: Mapping[str, str],
    timeout: float,
    peer: Optional[str] = None,
) -> Response:
    """The answer, whatever its status.

    Args:
        target: path and query, already percent-encoded.
        timeout: seconds for all of it, connecting included.
        peer: whom errors name; TorchServe's address by its purpose unless given.

    Raises:
        Unavailable: nothing listens there, or it hung up; its cause is the OSError, where there is one.
        DeadlineExceeded: no answer in time.
        BadGateway: what came is not HTTP, or too much of it.
    """
    peer = peer or f"TorchServe's {address.purpose} address"
    lines = {"Host": address.authority, "Content-Length": "0", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    raw = f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("ascii")
    deadline = time.monotonic() + timeout
    late = DeadlineExceeded(f"{peer} did not answer within {timeout:g} s")
    try:
        connection = await asyncio.wait_for(dial(address, tls, MAX_BODY, peer), timeout)
    except asyncio.TimeoutError:
        raise late from None
    except OSError as error:
        raise Unavailable(f"{peer} cannot be reached: {error.strerror or type(error).__name__}") from error
    try:
        return await connection.request(raw, b"", deadline)
    except DeadlineExceeded:
        raise late from None
    except TooLarge:
        raise BadGateway(f"{peer} answered more than {MAX_BODY} bytes") from None
    finally:
        connection.close()
