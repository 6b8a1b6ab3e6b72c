"""Status line and headers of a response, as bytes."""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Dict, List, Sequence, Tuple

_STATUS_LINES: Dict[int, bytes] = {s: b"HTTP/1.1 %d %s\r\n" % (s, s.phrase.encode()) for s in HTTPStatus}


class _Date:
    """The header of now, made once a second. RFC 9110 section 6.6.1."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = b"date: %b\r\n" % formatdate(second, usegmt=True).encode()
        return self._line


_date = _Date()


def compose_head(status: int, headers: Sequence[Tuple[bytes, bytes]]) -> bytes:
    """A response's head, with its date. Raises ValueError for a header that would be more than one line."""
    pieces: List[bytes] = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, _date.line()]
    for name, value in headers:
        pieces += (name, b": ", value, b"\r\n")
    pieces.append(b"\r\n")
    head = b"".join(pieces)
    lines = len(headers) + 3
    if head.count(b"\n") != lines or head.count(b"\r") != lines:
        raise ValueError(f"a header holds a line break: {headers}")
    return head
