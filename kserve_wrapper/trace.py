"""What identifies a request across processes: its id and the W3C trace headers."""

from __future__ import annotations

import random
import re
from typing import Callable, Dict, Optional

#: What clients read when the fault is ours.
INTERNAL = "internal error; the log has the cause"

_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}\Z")
_PASSED_ON = ("traceparent", "tracestate")
#: Printable ASCII; anything else could break a header line upstream.
_VALUE = re.compile(r"[\x20-\x7e]{1,1024}\Z")


def accept_id(given: Optional[str]) -> str:
    """The client's own id where it is harmless in logs and headers, else a new one of 32 hexadecimal digits."""
    if given is not None and _ID.match(given):
        return given
    return f"{random.getrandbits(128):032x}"


def trace_headers(identifier: str, header: Callable[[str], Optional[str]]) -> Dict[str, str]:
    """The headers that travel upstream with a request.

    Args:
        identifier: the request's id.
        header: looks up a client's header by its name in lower case.
    """
    headers = {"x-request-id": identifier}
    for name in _PASSED_ON:
        value = header(name)
        if value is not None and _VALUE.match(value):
            headers[name] = value
    return headers
