"""Which of a client's request headers travel to the handler."""

from __future__ import annotations

from typing import Dict, FrozenSet, Iterable, Mapping, Optional, Sequence

from kserve_wrapper.core.trace import PASSED_ON, trace_headers

#: A client's request headers as they came, names in lower case.
ClientHeaders = Mapping[bytes, bytes]

#: They belong to one connection (RFC 9110, 7.6.1), or to a body that travels in a form of its own.
_OF_THE_CONNECTION = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings host expect "
    b"accept-encoding content-encoding content-length content-type content-md5 digest content-digest repr-digest "
    b"inference-header-content-length grpc-timeout grpc-encoding grpc-accept-encoding".split()
)
#: What a client proves itself with. It is for whoever stands in front, and no matter of a model.
_SECRETS = frozenset(b"authorization proxy-authorization cookie".split())
_TRACE = frozenset(name.encode() for name in PASSED_ON)


class HeaderPolicy:
    """What of a client's headers a handler gets to see.

    Args:
        also: names of headers that travel although they are secrets: authorization, proxy-authorization, cookie.

    Raises:
        ValueError: a name in ``also`` belongs to the connection and can never travel.
    """

    def __init__(self, also: Iterable[str] = ()) -> None:
        named: FrozenSet[bytes] = frozenset(name.lower().encode() for name in also)
        for name in sorted(named & _OF_THE_CONNECTION):
            raise ValueError(f"header {name.decode()} belongs to one connection and cannot be sent on")
        self._kept_back = _OF_THE_CONNECTION | (_SECRETS - named)

    def of_a_request_alone(self, client: ClientHeaders) -> Dict[str, str]:
        """For a handler that gets each request as it came, as from TorchServe alone."""
        return _printable({name: value for name, value in client.items() if name not in self._kept_back})

    def declared(self, client: ClientHeaders, names: Sequence[str]) -> Dict[str, str]:
        """For a handler that answers several requests together: those that it says it reads."""
        if not names:
            return {}
        wanted = [name.lower().encode() for name in names]
        return _printable({name: client[name] for name in wanted if name in client and name not in self._kept_back})


def trace_of(client: ClientHeaders) -> Dict[str, str]:
    """A request's id and W3C trace, for an upstream request that is of this client alone."""
    if _TRACE.isdisjoint(client):
        return {}

    def header(name: str) -> Optional[str]:
        value = client.get(name.encode())
        return None if value is None else value.decode("latin-1")

    return trace_headers(header)


def _printable(headers: Mapping[bytes, bytes]) -> Dict[str, str]:
    """Others could break a line upstream: they are left out."""
    texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
    return {name: value for name, value in texts.items() if name.isascii() and value.isascii() and value.isprintable()}
