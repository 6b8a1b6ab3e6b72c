"""The application: finds the handler, turns errors into answers, and tells metrics and log of each request."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Callable, Optional, Protocol, Union

from kserve_wrapper.core.errors import WrapperError
from kserve_wrapper.core.trace import INTERNAL
from kserve_wrapper.httpd.encoding import accepted_coding, deflate
from kserve_wrapper.httpd.messages import ClientGone, Headers, Request, Response, json_response
from kserve_wrapper.rest.cors import Cors
from kserve_wrapper.rest.routing import Router, WrongMethod

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
        observe: told of each request.
        refused: told the route's name and the status of each answer to what never became a request.
        cors: None where pages of other origins may not call.
        compress_from: bytes of an answer that is compressed for clients that accept it; 0 = none is.
    """

    def __init__(
        self,
        router: Router,
        observe: Optional[Observer] = None,
        refused: Optional[Callable[[str, int], None]] = None,
        cors: Optional[Cors] = None,
        compress_from: int = 0,
    ) -> None:
        self._router = router
        self._observe = observe
        self._refused = refused
        self._cors = cors
        self._compress_from = compress_from
        #: While the server stops, each answer asks its client to leave: a connection that the server closes by itself
        #: may cut a request that is on its way.
        self.closing = False

    async def __call__(self, request: Request) -> None:
        """Answers any request."""
        started = time.perf_counter()
        route = _UNROUTED
        result: Union[Response, BaseException]
        try:
            match = self._router.match(request.raw_path)
            route = match.route.template
            preflight = None if self._cors is None else self._cors.preflight(request)
            result = preflight or await match.route.handler(request.method)(request, *match.params)
        except (Exception, asyncio.CancelledError) as error:
            result = error
        self._answer(request, route, started, result)

    def refuse(self, error: WrapperError) -> Response:
        """The answer to what never became a request."""
        if self._refused is not None:
            self._refused(_UNROUTED, error.status)
        return error_response(error)

    def _answer(self, request: Request, route: str, started: float, result: Union[Response, BaseException]) -> None:
        response = _answer_to(result, request) if isinstance(result, BaseException) else result
        status, size = CLIENT_CLOSED_REQUEST, 0
        if response is not None:
            try:
                self._send(request, response)
            except Exception as error:
                response = _fault(error, request)
                self._send(request, response)
            status, size = response.status, len(response.body)
        if self._observe is not None:
            self._observe(request, route, status, time.perf_counter() - started, size)

    def _send(self, request: Request, response: Response) -> None:
        response.headers.append((b"x-request-id", request.id.encode()))
        if self._cors is not None:
            response.headers += self._cors.headers(request)
        if 0 < self._compress_from <= len(response.body):
            _compress(response, request)
        if self.closing:
            response.headers.append((b"connection", b"close"))
        request.answer(response)


def _compress(response: Response, request: Request) -> None:
    """Compresses the body for a client that takes it so."""
    coding = accepted_coding(request.header(b"accept-encoding"))
    if coding is not None:
        response.replace_body(deflate(response.body, coding))
        response.headers.append((b"content-encoding", coding))
    response.headers.append((b"vary", b"accept-encoding"))


def _answer_to(error: BaseException, request: Request) -> Optional[Response]:
    """None for a client that is gone. Raises the error where the request is cancelled for another cause."""
    if isinstance(error, WrapperError):
        if error.status >= 500:
            logger.warning("request %s: %s %s", request.id, error.status, error.message)
        return error_response(error)
    if isinstance(error, ClientGone) or (isinstance(error, asyncio.CancelledError) and request.is_lost()):
        return None
    if not isinstance(error, Exception):
        raise error
    return _fault(error, request)


def _fault(error: Exception, request: Request) -> Response:
    """The answer for a fault of ours, which tells nothing of it; the log does."""
    logger.error("request %s failed", request.id, exc_info=error)
    return json_response({"error": INTERNAL}, 500)


def error_response(error: WrapperError) -> Response:
    """``{"error": …}``, or the handler's own answer, with the error's status, and Retry-After and Allow."""
    headers: Headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    if isinstance(error, WrongMethod):
        headers.append((b"allow", error.allow.encode()))
    if error.body is not None:
        return Response(error.body, error.status, error.content_type, headers)
    return json_response({"error": error.message}, error.status, headers)
