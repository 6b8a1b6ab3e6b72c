"""An inference route: what is the protocol's own about it, and the way through the data plane that all share."""

from __future__ import annotations

from functools import partial
from typing import Callable, Generic, Optional, Sequence, Tuple, TypeVar, Union

from kserve_wrapper.batching.outbox import Outcome
from kserve_wrapper.codecs.cloudevents import Form, form_of
from kserve_wrapper.core.calls import Buffer, Call, Reply
from kserve_wrapper.core.dataplane import DataPlane
from kserve_wrapper.httpd.messages import Request, Response

T = TypeVar("T")

#: Takes the response to a request, or the error that ended it.
Respond = Callable[[Union[Response, Exception]], None]


class Inference(Generic[T]):
    """A handler that needs no task of the event loop for a request that is all there, as most are.

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

    async def __call__(self, request: Request, *params: str) -> Response:
        body = await request.body()
        event = form_of(request.headers)
        if event is not None:
            body = event.open(request.headers, body)
        call, asked = self._decode(request, body, *params)
        response = self._encode(asked, await self._plane.infer(call))
        return response if event is None else _as_event(event, call.model, response)

    def begin(self, request: Request, params: Sequence[str], respond: Respond) -> Callable[[], object]:
        """Takes on a request that has arrived to its end; its response, or an error, is handed to ``respond`` later.

        Returns:
            What calls it off.

        Raises:
            WrapperError: it is not taken on.
        """
        body: Buffer = request.whole_body()
        event = form_of(request.headers)
        if event is not None:
            body = event.open(request.headers, body)
        call, asked = self._decode(request, body, *params)
        return self._plane.begin(call, partial(self._hand_on, call, asked, event, respond))

    def _hand_on(self, call: Call, asked: T, event: Optional[Form], respond: Respond, outcome: Outcome) -> None:
        if isinstance(outcome, Exception):
            respond(self._plane.as_asked(call, outcome))
            return
        try:
            response = self._encode(asked, outcome)
            if event is not None:
                response = _as_event(event, call.model, response)
        except Exception as error:
            respond(error)
        else:
            respond(response)


def _as_event(event: Form, model: str, response: Response) -> Response:
    """The response within a CloudEvent of the request's form; its other headers stay."""
    own = dict(response.headers)
    body, content_type, headers = event.answer(model, own.pop(b"content-type"), response.body)
    own.pop(b"content-length")
    return Response(body, response.status, content_type, [*own.items(), *headers])
