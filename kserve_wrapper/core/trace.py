"""What identifies a request across processes: its id and the W3C trace headers."""

from __future__ import annotations

import random
import re
from typing import Callable, Dict, Optional

#: What clients read when the fault is ours.
INTERNAL = "internal error; the log has the cause"

_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}\Z")
#: Printable ASCII; anything else could break a header line upstream.
_VALUE = re.compile(r"[\x20-\x7e]{1,1024}\Z")
#: Headers that travel upstream, and what they may hold.
PASSED_ON = {"x-request-id": _ID, "traceparent": _VALUE, "tracestate": _VALUE}


def accept_id(given: Optional[str]) -> str:
    """The client's own id where it is harmless in logs and headers, else a new one of 32 hexadecimal digits."""
    if given is not None and _ID.match(given):
        return given
    return random.getrandbits(128).to_bytes(16, "big").hex()


def trace_headers(header: Callable[[str], Optional[str]]) -> Dict[str, str]:
    """Those of a client's headers that travel upstream: its own request id, and the W3C trace.

    An id that we made up stays here: each header costs the worker time, and nobody but us knows it.

    Args:
        header: looks up a header by its name in lower case.
    """
    headers: Dict[str, str] = {}
    for name, allowed in PASSED_ON.items():
        value = header(name)
        if value is not None and allowed.match(value):
            headers[name] = value
    return headers
