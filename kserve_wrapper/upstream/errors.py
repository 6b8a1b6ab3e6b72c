"""What TorchServe's and the handlers' error answers mean to a client."""

from __future__ import annotations

import logging
from typing import Any, Dict, Mapping, Optional, Type

import orjson

from kserve_wrapper.core.calls import Call, ModelMetadata
from kserve_wrapper.core.errors import (
    BadGateway,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NotFound,
    OutOfResources,
    TooLarge,
    Unavailable,
    Unseen,
    WrapperError,
)
from kserve_wrapper.upstream.connection import Response

logger = logging.getLogger(__name__)

_CLASSES: Mapping[int, Type[WrapperError]] = {
    404: NotFound,
    413: TooLarge,
    502: BadGateway,
    503: Unavailable,
    504: DeadlineExceeded,
    507: OutOfResources,
}
#: What TorchServe says of answers that it can make nothing of.
_NO_ANSWER: Mapping[str, str] = {
    "Invalid model predict output": "something that is no list",
    "number of batch response mismatched": "too many answers or too few",
    "Unsupported model output data type.": "something that has no JSON form",
}
#: Java's exception classes for a path that leads nowhere.
_UNKNOWN_MODEL = {"ModelNotFoundException", "ModelVersionNotFoundException", "ResourceNotFoundException"}


class NotReached(Unseen):
    """TorchServe itself could not be reached."""


class Busy(Unseen):
    """TorchServe has no worker for the model, or the queue in front of its workers is full."""


class Refused(Unseen):
    """TorchServe did not take the wrapper's key."""


class WorkerLost(Unavailable):
    """The worker that had the request ended; a request in it may be why."""


class ReplyTooLong(TooLarge):
    """The answer was longer than TorchServe takes from a worker, which TorchServe ended for it."""

    def __init__(self, model: str, limit: int) -> None:
        super().__init__(
            f"model {model}: the answer to this request is longer than TorchServe's limit of {limit} bytes "
            "(max_response_size in config.properties): ask for less in one request, or raise the limit; sent again, it "
            "fails again"
        )


class NoAnswer(InternalError):
    """What a handler returned cannot be an answer."""

    def __init__(self, model: str, returned: str) -> None:
        super().__init__(
            f"model {model}: its handler returned {returned}; it must return a list with one answer for each request, "
            "of text, bytes or what JSON has; behind TorchServe's envelopes one for each instance or input"
        )


class NotRegistered(NotFound):
    """TorchServe has no such model or version, whatever is asked of it."""


def read_error(call: Call, metadata: ModelMetadata, response: Response) -> WrapperError:
    """The error of an upstream answer whose status is not of success.

    Handlers that list ``row_errors`` answer ``{"error": text}`` and may add ``rows``; their text is for clients. What
    others answer with a 4xx is theirs and their clients', and passes as it is. TorchServe answers ``{"code", "type",
    "message"}``; of its texts only those pass that a handler wrote for clients (a ``PredictionException`` of 4xx).
    """
    status, body = response.status, response.body
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = None
    model = call.model if call.version is None else f"{call.model} version {call.version}"
    if _is_torchserves(content, status):
        return _from_torchserve(model, status, content["type"], str(content["message"]))
    told = isinstance(content, dict) and isinstance(content.get("error"), str)
    if not told:
        logger.warning("model %s answered status %d", model, status)
    error = _from_handler(status, content) if told else _of_status(status, _words(model, status, body))
    if 400 <= status < 500 and body and not (told and "row_errors" in metadata.extensions):
        error.body = body
        error.content_type = response.headers.get("content-type", "application/json").encode("latin-1")
    return error


def _words(model: str, status: int, body: bytes) -> str:
    """A handler's answer of no known form, as the log and gRPC have it, whose errors are texts."""
    try:
        text = body.decode() if status < 500 else ""
    except UnicodeDecodeError:
        text = ""
    return text or f"model {model} answered with status {status} and no explanation"


def _is_torchserves(content: Any, status: int) -> bool:
    """Handlers may answer any status with any body; TorchServe's own has just these three fields."""
    if not isinstance(content, dict) or content.keys() != {"code", "type", "message"}:
        return False
    return content["code"] == status and isinstance(content["type"], str)


def _from_handler(status: int, content: Dict[str, Any]) -> WrapperError:
    error = _of_status(status, content["error"])
    error.rows = _read_rows(content.get("rows"))
    return error


def _read_rows(rows: Any) -> Dict[int, str]:
    if not isinstance(rows, dict):
        return {}
    return {int(row): str(text) for row, text in rows.items() if row.isascii() and row.isdigit() and len(row) < 10}


def _from_torchserve(model: str, status: int, kind: str, message: str) -> WrapperError:
    if kind in _UNKNOWN_MODEL:
        return NotRegistered(f"model {model} is not registered with the model server")
    if kind == "InvalidKeyException":
        logger.error("TorchServe refused the wrapper's inference key")
        return Refused("the model server does not accept the wrapper's key at the moment", retry_after=1)
    if status == 503 and "has no worker to serve" in message:
        return Busy(f"model {model} has no free worker at the moment", retry_after=1)
    if message == "Worker died.":
        # Also with 507: TorchServe takes every SIGKILL for a lack of memory, whoever sent it.
        return WorkerLost(f"model {model} lost the worker that had this request", retry_after=1)
    if status == 507:
        return OutOfResources(f"model {model} does not have the memory for this request")
    if 400 <= status < 500 and kind == "InternalServerException":
        return _of_status(status, message)
    logger.error("model %s: TorchServe answered %d %s: %s", model, status, kind, message)
    if message in _NO_ANSWER:
        return NoAnswer(model, _NO_ANSWER[message])
    if kind == "InternalServerException":
        return InternalError(f"model {model} failed on this request; the model server's log has the cause")
    return BadGateway(f"the model server refused the request for model {model}; the log has the cause")


def _of_status(status: int, message: str) -> WrapperError:
    """An error of just that status: the class tells what it is, the instance keeps an unusual number."""
    if not 400 <= status < 600:
        return BadGateway(message)
    family: Type[WrapperError] = InvalidRequest if status < 500 else InternalError
    error = _CLASSES.get(status, family)(message, retry_after=_retry_after(status))
    error.status = status
    return error


def _retry_after(status: int) -> Optional[float]:
    return 1.0 if status == 503 else None
