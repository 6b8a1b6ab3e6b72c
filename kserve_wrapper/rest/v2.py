"""The Open Inference Protocol's routes over HTTP, with its model repository extension."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from kserve_wrapper.codecs import v2 as codec
from kserve_wrapper.codecs.compat import stock_document
from kserve_wrapper.codecs.model_info import properties
from kserve_wrapper.core.calls import Buffer, Call, ModelMetadata, Reply, TensorMetadata, V2Reply
from kserve_wrapper.core.dataplane import DataPlane
from kserve_wrapper.core.errors import InternalError
from kserve_wrapper.core.trace import INTERNAL
from kserve_wrapper.httpd.messages import JSON, Headers, Request, Response, json_response
from kserve_wrapper.rest.inference import Inference
from kserve_wrapper.rest.routing import Router
from kserve_wrapper.telemetry.metrics import Stages
from kserve_wrapper.tensors.binary import HEADER_LENGTH

_HEADER_LENGTH = HEADER_LENGTH.lower().encode()
_BINARY = b"application/octet-stream"


class V2:
    """Handlers of V2.

    Args:
        plane: answers.
        stages: takes the time of decoding and encoding.
        compat: inference answers as the stock runtime does.
    """

    def __init__(self, plane: DataPlane, stages: Stages, compat: bool = False) -> None:
        self._plane = plane
        self._stages = stages
        self._compat = compat

    def add_to(self, router: Router) -> None:
        router.add("/v2", GET=self.server_metadata)
        # The protocol's own description has it so.
        router.add("/v2/", GET=self.server_metadata)
        router.add("/v2/health/live", GET=self.live)
        router.add("/v2/health/ready", GET=self.ready)
        router.add("/v2/models", GET=self.list_models)
        for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            router.add(f"{prefix}/infer", POST=self._inference(explain=False))
            router.add(f"{prefix}/explain", POST=self._inference(explain=True))
            router.add(f"{prefix}/ready", GET=self.model_ready)
            router.add(prefix, GET=self.model_metadata)

    async def server_metadata(self, request: Request) -> Response:
        return json_response(self._plane.server_metadata())

    async def live(self, request: Request) -> Response:
        live = self._plane.live()
        return json_response({"live": live}, 200 if live else 503)

    async def ready(self, request: Request) -> Response:
        if self._plane.ready():
            return json_response({"ready": True})
        return json_response({"ready": False, "reason": self._plane.why_not_all_ready()}, 503)

    async def list_models(self, request: Request) -> Response:
        return json_response({"models": self._plane.models.models()})

    async def model_ready(self, request: Request, model: str, version: Optional[str] = None) -> Response:
        if self._plane.model_ready(model, version):
            return json_response({"name": model, "ready": True})
        reason = self._plane.why_not_ready(model, version)
        return json_response({"name": model, "ready": False, "reason": reason}, 503)

    async def model_metadata(self, request: Request, model: str, version: Optional[str] = None) -> Response:
        return json_response(metadata_object(self._plane.metadata(model, version)))

    def _inference(self, explain: bool) -> Inference[codec.V2Request]:
        def decode(
            request: Request, body: Buffer, model: str, version: Optional[str] = None
        ) -> Tuple[Call, codec.V2Request]:
            length = request.header(_HEADER_LENGTH)
            asked = self._stages.decode.time(
                codec.decode_request, body, length, model, version, explain, request.headers
            )
            return asked.call, asked

        return Inference(self._plane, decode, self._encode)

    def _encode(self, asked: codec.V2Request, reply: Reply) -> Response:
        if not isinstance(reply, V2Reply):
            raise InternalError(INTERNAL)
        return self._stages.encode.time(self._response, asked, reply)

    def _response(self, asked: codec.V2Request, reply: V2Reply) -> Response:
        if self._compat and not asked.call.explain:
            return json_response(stock_document(asked.call, asked.id, reply))
        labels = self._plane.labels(asked.call) if asked.classes else ()
        content, header_length = codec.encode_reply(asked, reply, labels)
        if header_length is None:
            return Response(content, 200, JSON)
        headers: Headers = [(_HEADER_LENGTH, b"%d" % header_length)]
        return Response(content, 200, _BINARY, headers)


def metadata_object(metadata: ModelMetadata) -> Dict[str, Any]:
    """The model metadata object of the protocol, with ``properties`` as over gRPC where the handler tells of itself."""
    described: Dict[str, Any] = {
        "name": metadata.name,
        "versions": metadata.versions,
        "platform": metadata.platform,
        "inputs": _tensor_objects(metadata.inputs),
        "outputs": _tensor_objects(metadata.outputs),
    }
    told = properties(metadata)
    return {**described, "properties": told} if told else described


def _tensor_objects(tensors: List[TensorMetadata]) -> List[Dict[str, Any]]:
    return [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in tensors]
