"""The application: finds the handler, turns errors into answers, and tells metrics and log of each request."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Optional, Protocol, Tuple

from kserve_wrapper.errors import MethodNotAllowed, NotFound, WrapperError
from kserve_wrapper.rest.http import ClientGone, Headers, Request, Response, json_response
from kserve_wrapper.rest.routing import Router
from kserve_wrapper.trace import INTERNAL

logger = logging.getLogger(__name__)

#: What metrics and log say of a request whose client went away; no client sees it.
CLIENT_CLOSED_REQUEST = 499
_UNROUTED = "none"


class Observer(Protocol):
    """Is told of each request when it is over."""

    def __call__(self, request: Request, route: str, status: int, seconds: float, size: int) -> None: ...


class App:
    """The application.

    Args:
        router: all routes.
        max_body: bytes; 0 = any size.
        observe: told of each request.
    """

    def __init__(self, router: Router, max_body: int = 0, observe: Optional[Observer] = None) -> None:
        self._router = router
        self._max_body = max_body
        self._observe = observe
        #: While the server stops, each answer asks its client to leave: a connection that the server closes by itself
        #: may cut a request that is on its way.
        self.closing = False

    async def __call__(self, request: Request) -> None:
        started = time.perf_counter()
        request.max_body = self._max_body
        route, response = await self._answer(request)
        status, size = CLIENT_CLOSED_REQUEST, 0
        if response is not None:
            response.headers.append((b"x-request-id", request.id.encode()))
            if self.closing:
                response.headers.append((b"connection", b"close"))
            status, size = response.status, len(response.body)
            request.answer(response)
        if self._observe is not None:
            self._observe(request, route, status, time.perf_counter() - started, size)

    async def _answer(self, request: Request) -> Tuple[str, Optional[Response]]:
        """The route's template and the response; no response for a client that is gone."""
        route = _UNROUTED
        try:
            match = self._router.match(request.raw_path)
            if match is None:
                raise NotFound(f"no such route: {request.method} {request.raw_path.decode('latin-1')}")
            route = match.route.template
            handler = match.route.handler(request.method)
            if handler is None:
                return route, error_response(
                    MethodNotAllowed(f"{request.method} is not allowed here"),
                    [(b"allow", match.route.allow.encode())],
                )
            return route, await handler(request, *match.params)
        except WrapperError as error:
            if error.status >= 500:
                logger.warning("request %s: %s %s", request.id, error.status, error.message)
            return route, error_response(error)
        except ClientGone:
            return route, None
        except asyncio.CancelledError:
            if not request.is_lost():
                raise
            return route, None
        except Exception:
            logger.exception("request %s failed", request.id)
            return route, json_response({"error": INTERNAL}, 500)


def error_response(error: WrapperError, headers: Optional[Headers] = None) -> Response:
    """``{"error": …}`` with the error's status; Retry-After in whole seconds where it knows."""
    headers = list(headers or ())
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    return json_response({"error": error.message}, error.status, headers)
