"""What each RPC of inference.GRPCInferenceService does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Awaitable, Callable, Dict, NamedTuple, Optional

from google.protobuf.json_format import ParseDict

from kserve_wrapper.codecs import oip_grpc as codec
from kserve_wrapper.codecs.compat import new_id, stock_reply
from kserve_wrapper.codecs.model_info import ModelInfo, properties
from kserve_wrapper.core.calls import V2Reply
from kserve_wrapper.core.dataplane import DataPlane, Repository
from kserve_wrapper.core.errors import InternalError, Unavailable
from kserve_wrapper.core.headers import ClientHeaders
from kserve_wrapper.core.trace import INTERNAL
from kserve_wrapper.rpc.messages import Protocol
from kserve_wrapper.telemetry.metrics import Stages


class Caller(NamedTuple):
    """What is known of a call beside its message."""

    #: Seconds that the client waits; None: for ever.
    timeout: Optional[float]
    #: The call's metadata.
    headers: ClientHeaders
    #: Goes back as trailing metadata: what the answer's message has no field for.
    trailers: Dict[str, str]


#: Trailing metadata of what is not ready.
_REASON = "reason"
STREAM = "ModelStreamInfer"
STREAM_RESPONSE = "ModelStreamInferResponse"

Method = Callable[[Any, Caller], Awaitable[Any]]


class Rpc(NamedTuple):
    """One method with the classes of its messages."""

    request: Any
    response: Any
    serve: Method


class Servicer:
    """The methods.

    Args:
        messages: the module with the message classes.
        plane: answers.
        info: of models, for Triton's clients.
        stages: takes the time of decoding and encoding.
        compat: inference answers as the stock runtime does.
    """

    def __init__(self, messages: Any, plane: DataPlane, info: ModelInfo, stages: Stages, compat: bool = False) -> None:
        self._served = {name: serve for name, serve in self._all().items() if hasattr(messages, f"{name}Request")}
        streams = hasattr(messages, STREAM_RESPONSE)
        #: The messages, and what reflection tells.
        self.protocol = Protocol(messages, [*self._served, *([STREAM] if streams else [])])
        self._messages = self.protocol
        self._plane = plane
        self._info = info
        self._stages = stages
        self._compat = compat

    def methods(self) -> Dict[str, Rpc]:
        """All methods of one request and one answer that the message package has messages for."""
        return {
            name: Rpc(getattr(self._messages, f"{name}Request"), getattr(self._messages, f"{name}Response"), serve)
            for name, serve in self._served.items()
        }

    @property
    def stream(self) -> Optional[Rpc]:
        """ModelStreamInfer, whose requests are answered each by ``serve``; None where there are no messages for it."""
        response = getattr(self._messages, STREAM_RESPONSE, None)
        return None if response is None else Rpc(self._messages.ModelInferRequest, response, self.model_infer)

    def _all(self) -> Dict[str, Method]:
        return {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.server_metadata,
            "ModelMetadata": self.model_metadata,
            "ModelInfer": self.model_infer,
            "ModelConfig": self.model_config,
            "ModelStatistics": self.model_statistics,
            "RepositoryIndex": self.repository_index,
            "RepositoryModelLoad": self.repository_model_load,
            "RepositoryModelUnload": self.repository_model_unload,
        }

    async def server_live(self, request: Any, caller: Caller) -> Any:
        return self._messages.ServerLiveResponse(live=self._plane.live())

    async def server_ready(self, request: Any, caller: Caller) -> Any:
        ready = self._plane.ready()
        if not ready:
            caller.trailers[_REASON] = self._plane.why_not_all_ready()
        return self._messages.ServerReadyResponse(ready=ready)

    async def model_ready(self, request: Any, caller: Caller) -> Any:
        ready = self._plane.model_ready(request.name, request.version or None)
        if not ready:
            caller.trailers[_REASON] = self._plane.why_not_ready(request.name, request.version or None)
        return self._messages.ModelReadyResponse(ready=ready)

    async def server_metadata(self, request: Any, caller: Caller) -> Any:
        return self._messages.ServerMetadataResponse(**self._plane.server_metadata())

    async def model_metadata(self, request: Any, caller: Caller) -> Any:
        metadata = self._plane.metadata(request.name, request.version or None)
        reply = self._messages.ModelMetadataResponse(
            name=metadata.name,
            versions=metadata.versions,
            platform=metadata.platform,
            properties=properties(metadata),
        )
        for source, target in ((metadata.inputs, reply.inputs), (metadata.outputs, reply.outputs)):
            for tensor in source:
                target.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return reply

    async def model_config(self, request: Any, caller: Caller) -> Any:
        reply = self._messages.ModelConfigResponse()
        ParseDict(self._info.config(request.name, request.version or None), reply.config)
        return reply

    async def model_statistics(self, request: Any, caller: Caller) -> Any:
        told = self._info.statistics(request.name or None, request.version or None)
        return ParseDict(told, self._messages.ModelStatisticsResponse())

    async def model_infer(self, request: Any, caller: Caller) -> Any:
        asked = self._stages.decode.time(codec.decode_request, request, caller.headers)
        reply = await self._plane.infer(asked.call, caller.timeout)
        if not isinstance(reply, V2Reply):
            raise InternalError(INTERNAL)
        return self._stages.encode.time(self._response, asked, reply)

    def _response(self, asked: codec.GrpcRequest, reply: V2Reply) -> Any:
        if self._compat and not asked.call.explain:
            reply = stock_reply(asked.call, reply)
            call = replace(asked.call, outputs=None)
            asked = replace(asked, call=call, id=asked.id or new_id())
        labels = self._plane.labels(asked.call) if asked.classes else ()
        return codec.encode_reply(self._messages.ModelInferResponse, asked, reply, labels)

    async def repository_index(self, request: Any, caller: Caller) -> Any:
        reply = self._messages.RepositoryIndexResponse()
        for entry in await self._repository().index():
            if not request.ready or entry.get("state") == "READY":
                reply.models.add(**entry)
        return reply

    async def repository_model_load(self, request: Any, caller: Caller) -> Any:
        # kserve's message has no parameters, Triton's has.
        await self._repository().load(request.model_name, tuple(getattr(request, "parameters", ())))
        return self._outcome("Load", request.model_name, "isLoaded")

    async def repository_model_unload(self, request: Any, caller: Caller) -> Any:
        await self._repository().unload(request.model_name)
        return self._outcome("Unload", request.model_name, "isUnloaded")

    def _outcome(self, verb: str, model: str, flag: str) -> Any:
        """kserve's replies say what was done, tritonclient's are empty."""
        message = getattr(self._messages, f"RepositoryModel{verb}Response")
        said = {"model_name": model, flag: True}
        fields = message.DESCRIPTOR.fields_by_name
        return message(**{name: value for name, value in said.items() if name in fields})

    def _repository(self) -> Repository:
        if self._plane.repository is None:
            raise Unavailable("the model repository is not available")
        return self._plane.repository
