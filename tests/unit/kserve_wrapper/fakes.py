"""A data plane with nothing behind it, and a client that calls the application directly."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Collection, Dict, List, Optional, Tuple

from kserve_wrapper.core.calls import Buffer, Call, ModelMetadata, Reply, TensorMetadata, V1Call, V1Reply, V2Reply
from kserve_wrapper.core.dataplane import DataPlane
from kserve_wrapper.core.errors import InvalidRequest, NotFound, WrapperError
from kserve_wrapper.core.tasks import UnderWay
from kserve_wrapper.httpd.messages import ClientGone, Headers, Request, joined
from kserve_wrapper.rest.app import App
from kserve_wrapper.rest.cors import Cors
from kserve_wrapper.rest.routes import build_router
from kserve_wrapper.telemetry.metrics import Metrics
from kserve_wrapper.torchserve.scrape import TorchServeMetrics


class FakeModels:
    """``mnist`` in versions 1.0 and 2.0, and ``loading``, which is not ready."""

    def __init__(self) -> None:
        self.is_live = True
        self.is_ready = True
        #: Why ``loading`` is not ready.
        self.why = "its worker is loading"
        #: What the handler told beyond the protocol's fields.
        self.extra: Dict[str, Any] = {}

    def live(self) -> bool:
        return self.is_live

    def ready(self) -> bool:
        return self.is_ready

    def models(self) -> List[str]:
        return ["loading", "mnist"]

    def model_ready(self, name: str, version: Optional[str] = None) -> bool:
        if name not in self.models() or version not in (None, "1.0", "2.0"):
            raise NotFound(f"model {name} is not served here")
        return name == "mnist"

    def described(self, name: str, version: Optional[str] = None) -> bool:
        return self.model_ready(name, version)

    def reason(self, name: str, version: Optional[str] = None) -> str:
        return "" if self.model_ready(name, version) else self.why

    def default_version(self, name: str) -> Optional[str]:
        self.model_ready(name)
        return "1.0"

    def metadata(self, name: str, version: Optional[str] = None) -> ModelMetadata:
        self.model_ready(name, version)
        return ModelMetadata(
            name,
            ["1.0", "2.0"],
            "pytorch_eager",
            [TensorMetadata("input", "FP32", (-1, 2))],
            [TensorMetadata("predict", "INT64", (-1,))],
            extra=self.extra,
        )


class FakeSubmitter:
    """Answers with what came in: V1 instances as results, V2 inputs as outputs, or with the error that is set."""

    def __init__(self) -> None:
        self.calls: List[Call] = []
        self.deadlines: List[float] = []
        self.error: Optional[BaseException] = None
        self.reply: Optional[Reply] = None
        self.gate: Optional[asyncio.Event] = None
        self.cancelled = 0
        self.checked: List[Tuple[str, Optional[str], int]] = []
        self.full: Optional[WrapperError] = None
        self._under_way = UnderWay()

    def check_room(self, model: str, version: Optional[str], size: int) -> None:
        self.checked.append((model, version, size))
        if self.full is not None:
            raise self.full

    async def drain(self, timeout: float) -> bool:
        return await self._under_way.wait(timeout)

    async def submit(self, call: Call, deadline: float) -> Reply:
        self._under_way.begin()
        try:
            return await self._answer(call, deadline)
        finally:
            self._under_way.end()

    async def _answer(self, call: Call, deadline: float) -> Reply:
        self.calls.append(call)
        self.deadlines.append(deadline)
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if self.error is not None:
            raise self.error
        if self.reply is not None:
            return self.reply
        return V1Reply(call.instances) if isinstance(call, V1Call) else V2Reply(call.inputs, call.version)


class FakeRepository:
    """Remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: List[Tuple[str, str]] = []
        self.error: Optional[WrapperError] = None

    async def load(self, name: str, parameters: Collection[str] = ()) -> None:
        self._ask("load", name)
        if parameters:
            raise InvalidRequest(f"not supported: {', '.join(parameters)}")

    async def unload(self, name: str) -> None:
        self._ask("unload", name)

    async def index(self) -> List[Dict[str, str]]:
        self._ask("index", "")
        return [
            {"name": "mnist", "version": "1.0", "state": "READY", "reason": ""},
            {"name": "other", "version": "", "state": "UNAVAILABLE", "reason": "unloaded"},
        ]

    def _ask(self, verb: str, name: str) -> None:
        self.asked.append((verb, name))
        if name not in ("", "mnist", "other"):
            raise NotFound(f"there is no {name}")
        if self.error is not None:
            raise self.error


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: Dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class FakeChannel:
    """A client that sends a body, or is gone where that is None."""

    def __init__(self, body: Optional[bytes] = b"") -> None:
        self.lost = body is None
        self.max_body = 0
        self.answered: Optional[Answer] = None
        self._body = body

    async def body(self) -> Buffer:
        if self._body is None:
            raise ClientGone
        return self._body

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        assert self.answered is None
        self.answered = Answer(status, {name.decode(): value.decode() for name, value in headers}, body)


class Front:
    """The application with fakes behind it.

    Args:
        torchserve: metrics that are shown behind ours.
        plane: further arguments of the data plane.
    """

    def __init__(
        self,
        docs: bool = False,
        torchserve: Optional[TorchServeMetrics] = None,
        cors: Optional[Cors] = None,
        compress_from: int = 0,
        **plane: Any,
    ) -> None:
        self.models = FakeModels()
        self.submitter = FakeSubmitter()
        self.repository = FakeRepository()
        self.metrics = Metrics()
        self.seen: List[Tuple[str, int]] = []
        self.plane = DataPlane(self.models, self.submitter, self.repository, **plane)
        router = build_router(self.plane, self.metrics, docs, torchserve=torchserve)
        self.app = App(router, self._observe, self._refused, cors, compress_from)

    def _observe(self, request: Any, route: str, status: int, seconds: float, size: int) -> None:
        self.seen.append((route, status))

    def _refused(self, route: str, status: int) -> None:
        self.seen.append((route, status))

    def call(self, method: str, path: str, body: Any = b"", headers: Optional[Dict[str, str]] = None) -> Answer:
        """Sends one request; a body that is not bytes goes as JSON."""
        content: bytes = body if isinstance(body, bytes) else json.dumps(body).encode()
        return asyncio.run(self._call(method, path, content, headers or {}))

    async def _call(self, method: str, path: str, body: bytes, headers: Dict[str, str]) -> Answer:
        lowered = {name.lower(): value for name, value in headers.items()}
        if body and "content-length" not in lowered:
            lowered["content-length"] = str(len(body))
        channel = FakeChannel(body)
        named = [(name.encode(), value.encode("latin-1")) for name, value in lowered.items()]
        request = Request(channel, method, path.encode("latin-1"), joined(named))
        await self.app(request)
        assert channel.answered is not None
        return channel.answered
