"""From a raw path to a route and its parameters, with exact rules about percent-encoding.

Paths are split while still encoded, so that ``%2F`` never acts as a separator. A decoded segment that could not be
a model's name anywhere (a separator, a control character, ``..``) is refused before anything sees it.
"""

from __future__ import annotations

import re
from typing import Awaitable, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union
from urllib.parse import unquote_to_bytes

from kserve_wrapper.core.errors import InvalidRequest, MethodNotAllowed, NotFound
from kserve_wrapper.httpd.messages import Request, Response

Handler = Callable[..., Awaitable[Response]]
#: Says of a path's parameters why there is no such route.
Explain = Callable[..., str]

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]")
#: Paths remembered with their outcome; the names in them come from clients, so their number is bounded.
_CACHE_SIZE = 1024


class WrongMethod(MethodNotAllowed):
    """The route exists, this method does not; ``allow`` has those that do, as the header names them."""

    def __init__(self, method: str, allow: str) -> None:
        super().__init__(f"{method} is not allowed here")
        self.allow = allow


class Route(NamedTuple):
    """One path and what answers there, by method."""

    template: str
    handlers: Mapping[str, Handler]

    def handler(self, method: str) -> Handler:
        """What answers to this method; HEAD is answered wherever GET is. Raises WrongMethod."""
        found = self.handlers.get("GET" if method == "HEAD" else method)
        if found is None:
            methods = {*self.handlers, "HEAD"} if "GET" in self.handlers else set(self.handlers)
            raise WrongMethod(method, ", ".join(sorted(methods)))
        return found


class Match(NamedTuple):
    route: Route
    params: Tuple[str, ...]


class Router:
    """Finds routes.

    Templates are literal but for ``{name}`` segments, which may have a literal tail: ``{model}:predict``. Of refused
    ones ``{model}:{verb}`` divides a segment at its last colon; either part may be empty.
    """

    def __init__(self) -> None:
        self._routes: List[Tuple[List[str], Union[Route, Explain]]] = []
        self._cache: Dict[bytes, Match] = {}

    @property
    def routes(self) -> List[Route]:
        return [route for _, route in self._routes if isinstance(route, Route)]

    def add(self, template: str, **handlers: Handler) -> None:
        """Adds a route, ``GET=…`` or ``POST=…``. Earlier routes win."""
        self._routes.append((template[1:].split("/"), Route(template, handlers)))

    def refuse(self, template: str, explain: Explain) -> None:
        """Paths that no earlier route takes get 404, by any method, with what ``explain`` says of their parameters."""
        self._routes.append((template[1:].split("/"), explain))

    def match(self, raw_path: bytes) -> Match:
        """The route of a path as it came over the wire, without query.

        Raises:
            InvalidRequest: the path is not properly percent-encoded UTF-8, or a segment holds what no name holds.
            NotFound: there is no such route, or it is one that is refused with an explanation.
        """
        found = self._cache.get(raw_path)
        if found is None:
            found = self._find([decode_segment(part) for part in raw_path[1:].split(b"/")])
            if found is None:
                raise NotFound(f"no such route: {raw_path.decode('latin-1')}")
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            self._cache[raw_path] = found
        return found

    def _find(self, segments: List[str]) -> Optional[Match]:
        for template, route in self._routes:
            if len(template) == len(segments):
                params = _match_segments(template, segments)
                if params is not None and isinstance(route, Route):
                    return Match(route, params)
                if params is not None and not isinstance(route, Route):
                    raise NotFound(route(*params))
        return None


def decode_segment(raw: bytes) -> str:
    """One path segment, percent-decoded once. Raises InvalidRequest as ``Router.match`` does."""
    if _BAD_ESCAPE.search(raw):
        raise InvalidRequest("the path has a % that is not followed by two hexadecimal digits")
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest("the path is not UTF-8") from None
    if _FORBIDDEN.search(text) or text in (".", ".."):
        raise InvalidRequest("the path holds a segment that is no name: a separator, a control character or dots")
    return text


def _match_segments(template: List[str], segments: List[str]) -> Optional[Tuple[str, ...]]:
    params: List[str] = []
    for pattern, segment in zip(template, segments):
        if not pattern.startswith("{"):
            if pattern != segment:
                return None
            continue
        if pattern.endswith("}") and "}:{" in pattern:
            value, colon, verb = segment.rpartition(":")
            if not colon:
                return None
            params += [value, verb]
            continue
        tail = pattern[pattern.index("}") + 1 :]
        value = segment[: len(segment) - len(tail)]
        if value in ("", ".", "..") or not segment.endswith(tail):
            return None
        params.append(value)
    return tuple(params)


__all__ = ["Handler", "Match", "Request", "Route", "Router", "decode_segment"]
