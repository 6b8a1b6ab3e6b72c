"""Bytes to a socket and bytes back: for requests that no client library would send."""

from __future__ import annotations

import re
import socket

from tests.faults.pod import Pod

#: Of all that was sent, the statuses that came back; none where the connection was closed without a word.
TALKS: list[list[int]] = []


def talk(pod: Pod, data: bytes, limit: float = 3.0) -> bytes:
    """Everything that comes back until the server closes or says nothing for ``limit`` seconds."""
    got = b""
    with socket.create_connection(("127.0.0.1", pod.http_port), timeout=limit) as connection:
        connection.sendall(data)
        try:
            while piece := connection.recv(65536):
                got += piece
        except (TimeoutError, ConnectionResetError):
            pass
    TALKS.append(statuses(got))
    return got


def statuses(answer: bytes) -> list[int]:
    """The statuses of all responses in what came back."""
    return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3})", answer, re.MULTILINE)]


def request(path: str, body: bytes = b"", *headers: str, method: str = "POST") -> bytes:
    """A request that asks for the connection to be closed."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + body
