"""An inference route: what is the protocol's own about it, and the way through the data plane that all share."""

from __future__ import annotations

from typing import Callable, Generic, Optional, Tuple, TypeVar

from kserve_wrapper.codecs.cloudevents import Form, form_of
from kserve_wrapper.core.calls import Buffer, Call, Reply
from kserve_wrapper.core.dataplane import DataPlane
from kserve_wrapper.httpd.messages import Request, Response

T = TypeVar("T")

#: Bytes of a body that costs less to parse than to ask about: the data plane refuses it afterwards.
LARGE = 65536


class Inference(Generic[T]):
    """The handler of such a route.

    Args:
        plane: answers.
        decode: the call, and what ``encode`` has to know, out of the request, its body and the path's parameters.
            Raises WrapperError.
        encode: the response with a reply.
    """

    def __init__(
        self,
        plane: DataPlane,
        decode: Callable[..., Tuple[Call, T]],
        encode: Callable[[T, Reply], Response],
    ) -> None:
        self._plane = plane
        self._decode = decode
        self._encode = encode

    async def __call__(self, request: Request, model: str, version: Optional[str] = None) -> Response:
        body = await self._body(request, model, version)
        params = (model,) if version is None else (model, version)
        event = form_of(request.headers)
        if event is not None:
            body = event.open(request.headers, body)
        call, asked = self._decode(request, body, *params)
        response = self._encode(asked, await self._plane.infer(call))
        return response if event is None else _as_event(event, call.model, response)

    async def _body(self, request: Request, model: str, version: Optional[str]) -> Buffer:
        """The body; a large one only if there is room, told before it is read, or parsed where it came in chunks."""
        announced = request.announced_size
        if announced > LARGE:
            self._plane.check_room(model, version, announced)
        body = await request.body()
        if len(body) > LARGE >= announced:
            self._plane.check_room(model, version, len(body))
        return body


def _as_event(event: Form, model: str, response: Response) -> Response:
    """The response within a CloudEvent of the request's form; its other headers stay."""
    own = dict(response.headers)
    body, content_type, headers = event.answer(model, own.pop(b"content-type"), response.body)
    own.pop(b"content-length")
    return Response(body, response.status, content_type, [*own.items(), *headers])
