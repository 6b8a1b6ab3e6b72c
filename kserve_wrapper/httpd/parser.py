"""From bytes to requests: heads, bodies and ends. httptools parses; what HTTP asks beyond that is here."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, List, Mapping, NamedTuple, Optional, Protocol

import httptools

from kserve_wrapper.core.errors import InvalidRequest, WrapperError
from kserve_wrapper.httpd.errors import HeadTooLarge, VersionNotSupported
from kserve_wrapper.httpd.messages import Headers, joined

#: Host and port, RFC 9110 section 7.2; the name may be empty.
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=%]*)(:[0-9]*)?")
#: Characters; names of hosts have 253 at most.
_LONGEST_HOST = 300
#: Headers, and options of Connection, that offer another protocol.
_OFFERS = (b"upgrade", b"http2-settings")
#: How httptools' errors begin for versions that it does not parse, and for HTTP/2's first bytes.
_OTHER_VERSION = ("Invalid HTTP version", "Pause on PRI")


class Head(NamedTuple):
    """A request's line and headers."""

    method: str
    #: Path and query as they came.
    target: bytes
    #: By name in lower case.
    headers: Mapping[bytes, bytes]
    #: Bytes of the body as announced; 0 where it is not known before its end.
    length: int
    #: The client may send further requests.
    keep_alive: bool
    #: The client waits for ``100 Continue``.
    expects: bool


class Sink(Protocol):
    """Takes what was parsed."""

    def begin(self) -> None:
        """The first byte of a request came."""
        ...

    def head(self, head: Head) -> None: ...

    def body(self, data: bytes) -> None: ...

    def end(self) -> None:
        """The request is complete."""
        ...


class RequestParser:
    """Parses one connection.

    Args:
        sink: see there.
        max_head: bytes of a head, trailers and framing of chunks; 0 = any number.
    """

    def __init__(self, sink: Sink, max_head: int) -> None:
        self._sink: Optional[Sink] = sink
        self._max_head = max_head
        self._parser: Any = httptools.HttpRequestParser(self)
        #: Bytes since a head, a piece of a body or a request was complete. A piece of input may hold the end of one
        #: request and the beginning of the next, whose bytes in it are not counted: the limit is on what goes on.
        self._unfinished = 0
        #: The head that arrives: its URL, headers, Host headers, bytes, and whether it offers another protocol.
        self._url = b""
        self._headers: Headers = []
        self._hosts: List[bytes] = []
        self._size = 0
        self._offers = False
        self._in_body = False
        #: A request has begun and is not complete.
        self.busy = False

    def feed(self, data: bytes) -> None:
        """Parses on. Raises the error that answers what cannot be parsed; nothing can be parsed after that."""
        self._unfinished += len(data)
        while data:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as stop:
                # It stops at an offer of another protocol: on without that.
                data = self._without_offer() + data[stop.args[0] :]
                self._offers = False
                self._parser = httptools.HttpRequestParser(self)
            except httptools.HttpParserError as error:
                raise self._fault(error) from None
        if 0 < self._max_head < self._unfinished:
            raise self._too_large()

    def close(self) -> None:
        """Lets go of the sink, which holds this."""
        self._parser = self._sink = None

    # httptools

    def on_message_begin(self) -> None:
        self.busy = True
        self._url = b""
        self._headers = []
        self._hosts = []
        self._size = 0
        if self._sink is not None:
            self._sink.begin()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            # A trailer: nothing here has a use for any.
            return
        name = name.lower()
        self._size += len(name) + len(value) + 4
        self._headers.append((name, value))
        if name == b"host":
            self._hosts.append(value)

    def on_headers_complete(self) -> None:
        self._unfinished = 0
        version = self._parser.get_http_version()
        self._check_head(version)
        if self._parser.should_upgrade():
            self._check_offer()
        elif self._sink is not None:
            self._in_body = True
            self._sink.head(self._head(version))

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        if self._sink is not None:
            self._sink.body(body)

    def on_message_complete(self) -> None:
        self._unfinished = 0
        self._in_body = False
        if self._sink is not None and not self._offers:
            self.busy = False
            self._sink.end()

    # heads

    def _check_head(self, version: str) -> None:
        """Raises the error that answers a head that is none of ours."""
        if 0 < self._max_head < self._size:
            raise self._too_large()
        if not version.startswith("1."):
            raise _other_version(version)
        if len(self._hosts) != 1 and (self._hosts or version != "1.0"):
            raise InvalidRequest(f"the request has {len(self._hosts)} Host headers: send one")
        if self._hosts and (len(self._hosts[0]) > _LONGEST_HOST or not _is_host(self._hosts[0])):
            raise InvalidRequest("the Host header is no host name or address with an optional port")
        if not self._url.isascii():
            raise InvalidRequest("the URL holds bytes that no URL has: percent-encode them")

    def _head(self, version: str) -> Head:
        headers = joined(self._headers)
        newer = version != "1.0"
        return Head(
            self._parser.get_method().decode("ascii"),
            self._url if self._url.startswith(b"/") else _origin_form(self._url),
            headers,
            int(headers.get(b"content-length", 0)),
            newer and self._parser.should_keep_alive(),
            newer and headers.get(b"expect", b"").lower() == b"100-continue",
        )

    def _check_offer(self) -> None:
        if self._parser.get_method() == b"CONNECT":
            raise InvalidRequest("this is no proxy: CONNECT is not spoken here")
        self._offers = True

    def _too_large(self) -> HeadTooLarge:
        return HeadTooLarge(f"the headers are larger than max_header_size, {self._max_head} bytes")

    def _fault(self, error: Exception) -> WrapperError:
        """What the client hears: the error that a callback raised, or that its bytes are no HTTP/1."""
        if isinstance(error.__context__, WrapperError):
            return error.__context__
        version = self._parser.get_http_version()
        if str(error).startswith(_OTHER_VERSION) and not version.startswith("1."):
            return _other_version(version)
        return InvalidRequest("this is not an HTTP request")

    def _without_offer(self) -> bytes:
        """The request's head as it would be from a client that speaks HTTP/1.1 alone."""
        lines = [b"%b %b HTTP/%b" % (self._parser.get_method(), self._url, self._parser.get_http_version().encode())]
        for name, value in self._headers:
            if name == b"connection":
                options = [option.strip() for option in value.split(b",")]
                value = b", ".join([option for option in options if option.lower() not in _OFFERS])
            if name not in _OFFERS:
                lines.append(name + b": " + value)
        return b"\r\n".join([*lines, b"", b""])


@lru_cache(256)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


def _other_version(version: str) -> VersionNotSupported:
    return VersionNotSupported(f"HTTP/{version} is not spoken here: send HTTP/1.1")


def _origin_form(url: bytes) -> bytes:
    """Path and query of a URL as proxies send it. Raises httptools' error for what is none."""
    parsed = httptools.parse_url(url)
    path: bytes = parsed.path or b"/"
    return path + (b"?" + parsed.query if parsed.query else b"")
