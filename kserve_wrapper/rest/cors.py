"""Calls from web pages of other origins: the CORS protocol (Fetch standard, section 3.2)."""

from __future__ import annotations

from typing import Collection, Optional

from kserve_wrapper.httpd.messages import Headers, Request, Response

#: Seconds for which a browser remembers what it was told; browsers have bounds of their own.
_REMEMBERED = 600
_METHODS = b"GET, HEAD, POST"


class Cors:
    """Tells browsers which pages may call.

    Args:
        origins: such as ``https://example.com``; ``*`` stands for any. No page may send cookies or keys of the
            browser's along.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origins)

    def preflight(self, request: Request) -> Optional[Response]:
        """The answer to a browser that asks before it calls; None where the request is another."""
        if request.method != "OPTIONS" or request.header(b"access-control-request-method") is None:
            return None
        headers: Headers = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-max-age", b"%d" % _REMEMBERED),
        ]
        asked = request.headers.get(b"access-control-request-headers")
        if asked is not None and asked.isascii():
            headers.append((b"access-control-allow-headers", asked))
        return Response(b"", headers=headers)

    def headers(self, request: Request) -> Headers:
        """What an answer says to the browser that shows the calling page."""
        origin = request.header(b"origin")
        if self._any:
            allowed = b"*"
        elif origin is not None and origin in self._origins:
            allowed = origin.encode("latin-1")
        else:
            return [(b"vary", b"origin")]
        exposed = (b"access-control-expose-headers", b"x-request-id, inference-header-content-length, retry-after")
        return [(b"access-control-allow-origin", allowed), exposed, (b"vary", b"origin")]
