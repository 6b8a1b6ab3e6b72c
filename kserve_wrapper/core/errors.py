"""Errors that a client may see. Each carries its HTTP status; gRPC's codes come from one table (rpc/server.py)."""

from __future__ import annotations

from typing import Dict, Mapping, Optional

#: Characters of a message; names in it come from clients and may be of any length.
_LONGEST = 2000


class WrapperError(Exception):
    """Root of all errors that end a request.

    Args:
        message: what is wrong, where, and what to do. Clients read it: nothing of the inside.
        retry_after: seconds after which trying again makes sense, or None.
        rows: rows at fault, counted from 0 within the request, each with its own message.
    """

    status = 500
    #: A handler's own answer, which HTTP passes on as it is; None where the error is in our words.
    body: Optional[bytes] = None
    content_type = b""

    def __init__(
        self, message: str, retry_after: Optional[float] = None, rows: Optional[Mapping[int, str]] = None
    ) -> None:
        # The beginning says where, the end says what.
        message = message if len(message) <= _LONGEST else f"{message[: _LONGEST // 2]} … {message[-_LONGEST // 2 :]}"
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.rows: Dict[int, str] = dict(rows or {})


class InvalidRequest(WrapperError):
    """The request itself is at fault."""

    status = 400


class Forbidden(WrapperError):
    """TorchServe's settings do not allow it."""

    status = 403


class NotFound(WrapperError):
    """No such route, model or version."""

    status = 404


class MethodNotAllowed(WrapperError):
    """The route exists, this method does not."""

    status = 405


class TooLarge(WrapperError):
    """Body, rows or headers beyond the limit."""

    status = 413


class UnsupportedMedia(WrapperError):
    """The body's encoding is not one that we read."""

    status = 415


class InternalError(WrapperError):
    """A fault on our side or the model's; the log has the cause."""

    status = 500


class BadGateway(WrapperError):
    """TorchServe answered something that is not an answer."""

    status = 502


class Unavailable(WrapperError):
    """Not ready: try again."""

    status = 503


class QueueFull(Unavailable):
    """A bounded queue is full; over gRPC that is RESOURCE_EXHAUSTED."""


class Unseen(Unavailable):
    """No worker has seen the request: it may be sent again."""


class DeadlineExceeded(WrapperError):
    """The request's deadline passed before its answer came."""

    status = 504


class OutOfResources(WrapperError):
    """The worker's memory does not hold this request, even alone."""

    status = 507
