"""What the envelopes and TorchServe hand each other: the worker's context, headers, and one client's reply."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Protocol, Sequence, Union

from mnist_handler.envelopes.jsoncodec import dumps
from mnist_handler.requests import Answer, RequestError

JSON = "application/json"
OCTETS = "application/octet-stream"
#: Length in bytes of the JSON part of a body with binary tensor data (OIP, binary tensor data extension).
HEADER_LENGTH = "Inference-Header-Content-Length"
_HEADER_LENGTH_LOWER = HEADER_LENGTH.lower()
_MAX_MESSAGE = 1000


class WorkerContext(Protocol):
    """What the envelopes use of ``ts.context.Context``; ``idx`` counts the clients of the worker's batch."""

    model_name: str
    manifest: Optional[Mapping[str, Any]]

    def get_all_request_header(self, idx: int) -> Dict[str, Any]: ...

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None: ...

    def set_response_content_type(self, idx: int, value: str) -> None: ...

    def set_response_header(self, idx: int, key: str, value: str) -> None: ...


class Model(NamedTuple):
    """Name under which the model is registered, and its version if its archive tells one."""

    name: str
    version: Optional[str]


class Reply(NamedTuple):
    body: bytes
    content_type: str = JSON
    #: Length of the JSON part where binary tensor data follow it.
    header_length: Optional[int] = None


class ResponseWriter(Protocol):
    """How one client wants its answer written."""

    def reply(self, answer: Answer, model: Model) -> Reply: ...


def model_of(context: WorkerContext) -> Model:
    described = (context.manifest or {}).get("model") or {}
    version = described.get("modelVersion")
    return Model(context.model_name or str(described.get("modelName", "")), None if version is None else str(version))


def asks_explanation(headers: Mapping[str, Any]) -> bool:
    """The verb. TorchServe writes this header itself, in lower case and after the client's."""
    return bool(headers.get("explain") == "True")


def asks_description(data: Sequence[Any], context: Any) -> bool:
    """Whether TorchServe asks: alone and without a body. In any other batch the header is some client's own."""
    return len(data) == 1 and not data[0] and bool(context.get_request_header(0, "describe") == "True")


def header_length_of(headers: Mapping[str, Any]) -> Optional[str]:
    """The client's ``Inference-Header-Content-Length``, in whatever case it came."""
    for name in headers:
        if name.lower() == _HEADER_LENGTH_LOWER:
            return str(headers[name])
    return None


def send_results(context: WorkerContext, results: Sequence[Union[Reply, RequestError]]) -> List[bytes]:
    """Sets status and headers of every client's answer; returns the bodies, one a client, in order."""
    return [
        _send_error(context, idx, result) if isinstance(result, RequestError) else _send(context, idx, result)
        for idx, result in enumerate(results)
    ]


def _send(context: WorkerContext, idx: int, reply: Reply) -> bytes:
    context.set_response_content_type(idx, reply.content_type)
    if reply.header_length is not None:
        context.set_response_header(idx, HEADER_LENGTH, str(reply.header_length))
    return reply.body


def _send_error(context: WorkerContext, idx: int, error: RequestError) -> bytes:
    """The body is ``{"error": …}``, with ``rows`` where single rows are at fault."""
    document: Dict[str, Any] = {"error": _clip(error.message)}
    if error.rows:
        document["rows"] = {str(row): _clip(text) for row, text in error.rows.items()}
    context.set_response_status(error.status, _phrase(error.status), idx)
    context.set_response_content_type(idx, JSON)
    return dumps(document)


def _clip(text: str) -> str:
    """Names out of a request may be of any length; a message is not."""
    return text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + "…"


def _phrase(status: int) -> str:
    """The status line's text: TorchServe sends an empty one where it gets none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
