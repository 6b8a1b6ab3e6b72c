"""KServe V1's routes."""

from __future__ import annotations

from typing import Tuple

from kserve_wrapper.codecs import v1 as codec
from kserve_wrapper.core.calls import Buffer, Call, Reply, V1Reply
from kserve_wrapper.core.dataplane import DataPlane
from kserve_wrapper.core.errors import InternalError
from kserve_wrapper.core.trace import INTERNAL
from kserve_wrapper.httpd.messages import Request, Response, json_response
from kserve_wrapper.rest.inference import Inference
from kserve_wrapper.rest.routing import Router
from kserve_wrapper.telemetry.metrics import Stages


class V1:
    """Handlers of V1.

    Args:
        plane: answers.
        stages: takes the time of decoding and encoding.
    """

    def __init__(self, plane: DataPlane, stages: Stages) -> None:
        self._plane = plane
        self._stages = stages

    def add_to(self, router: Router) -> None:
        router.add("/v1/models", GET=self.list_models)
        router.add("/v1/models/{model}:predict", POST=self._inference(explain=False))
        router.add("/v1/models/{model}:explain", POST=self._inference(explain=True))
        router.refuse("/v1/models/{model}:{verb}", no_such_verb)
        router.add("/v1/models/{model}", GET=self.model_ready)

    async def list_models(self, request: Request) -> Response:
        return json_response({"models": self._plane.models.models()})

    async def model_ready(self, request: Request, model: str) -> Response:
        if self._plane.model_ready(model):
            return json_response({"name": model, "ready": True})
        return json_response({"name": model, "ready": False, "reason": self._plane.why_not_ready(model)}, 503)

    def _inference(self, explain: bool) -> Inference[bool]:
        def decode(request: Request, body: Buffer, model: str) -> Tuple[Call, bool]:
            return self._stages.decode.time(codec.decode_request, body, model, explain, request.headers), explain

        return Inference(self._plane, decode, self._encode)

    def _encode(self, explain: bool, reply: Reply) -> Response:
        if not isinstance(reply, V1Reply):
            raise InternalError(INTERNAL)
        return Response(self._stages.encode.time(codec.encode_reply, reply, explain))


def no_such_verb(model: str, verb: str) -> str:
    """Why ``/v1/models/{model}:{verb}`` is no route."""
    if not model:
        return "the path has no model name before the colon; write /v1/models/NAME:predict"
    return f"no verb {verb!r}; predict or explain"
