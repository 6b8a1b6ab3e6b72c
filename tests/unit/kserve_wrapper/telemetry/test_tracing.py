"""Spans of requests, queue and upstream, as the OpenTelemetry SDK exports them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any, Dict, List, Mapping

import pytest

from kserve_wrapper.assembly import _TracedCounter, _TracedPlane
from kserve_wrapper.batching.batcher import Batcher
from kserve_wrapper.batching.limits import BatchingLimits
from kserve_wrapper.core.calls import Call, ModelCapacity, ModelMetadata, Reply, V1Call
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.telemetry.metrics import Metrics
from kserve_wrapper.telemetry.tracing import Tracing, from_environment
from tests.unit.kserve_wrapper.batching.fake_model import FakeModel
from tests.unit.kserve_wrapper.fakes import FakeModels, FakeRepository

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

TRACES = [f"{index:032x}" for index in range(1, 6)]


def client(trace: str) -> Dict[bytes, bytes]:
    return {b"traceparent": f"00-{trace}-00000000000000aa-01".encode()}


class Rig:
    """A data plane with tracing in front of a fake model of one worker."""

    def __init__(self, model: FakeModel) -> None:
        self.exporter = memory.InMemorySpanExporter()
        provider = sdk.TracerProvider()
        provider.add_span_processor(export.SimpleSpanProcessor(self.exporter))
        tracing = Tracing(provider)
        self.upstream: List[Mapping[str, str]] = []

        def send(call: Call, metadata: ModelMetadata, deadline: float, headers: Mapping[str, str]) -> Any:
            self.upstream.append(headers)
            return model.send(call, metadata, deadline, headers)

        batcher = Batcher(
            tracing.sender(send),
            BatchingLimits(pipelining=False),
            lambda name, version: ModelCapacity(1),
            lambda name, version: model.metadata,
            observer=_TracedCounter(Metrics(), tracing),
        )
        self.plane = _TracedPlane(tracing, FakeModels(), batcher, FakeRepository())

    async def ask(self, trace: str, row: str, bad: bool = False) -> Reply:
        call = V1Call("mnist", None, False, [{"id": row, "bad": bad}], headers=client(trace))
        return await self.plane.infer(call)

    def spans(self, name: str) -> List[Any]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


def trace_of(span: Any) -> str:
    return f"{span.context.trace_id:032x}"


def test_each_request_has_its_spans_and_a_batch_is_linked_to_all_of_its() -> None:
    async def ask() -> Rig:
        rig = Rig(FakeModel())
        first = asyncio.ensure_future(rig.ask(TRACES[0], "a"))
        await asyncio.sleep(0.002)
        # They come while the worker is busy, and share the next batch.
        await asyncio.gather(first, *[rig.ask(trace, "b") for trace in TRACES[1:]])
        return rig

    rig = asyncio.run(ask())
    requests = {trace_of(span): span for span in rig.spans("predict mnist")}
    assert sorted(requests) == TRACES
    assert all(span.parent.span_id == 0xAA for span in requests.values())
    queues = rig.spans("queue")
    assert sorted(map(trace_of, queues)) == TRACES
    for span in queues:
        assert span.parent.span_id == requests[trace_of(span)].context.span_id
        assert span.start_time <= span.end_time
    alone, shared = rig.spans("upstream")
    assert alone.parent.span_id == requests[TRACES[0]].context.span_id
    assert {link.context.span_id for link in shared.links} == {requests[trace].context.span_id for trace in TRACES[1:]}
    assert shared.attributes["kserve_wrapper.batch.requests"] == 4
    assert trace_of(shared) == TRACES[1]


def test_torchserve_gets_the_upstream_spans_context() -> None:
    async def ask() -> Rig:
        rig = Rig(FakeModel())
        await rig.ask(TRACES[0], "a")
        return rig

    rig = asyncio.run(ask())
    [span] = rig.spans("upstream")
    assert rig.upstream[0]["traceparent"] == f"00-{TRACES[0]}-{span.context.span_id:016x}-01"


def test_a_clients_mistake_is_no_error_of_ours() -> None:
    async def ask() -> Rig:
        rig = Rig(FakeModel())
        with pytest.raises(InvalidRequest):
            await rig.ask(TRACES[0], "a", bad=True)
        return rig

    [span] = asyncio.run(ask()).spans("predict mnist")
    assert span.attributes["http.response.status_code"] == 400
    assert span.status.is_unset


@pytest.mark.parametrize(
    "environ",
    [{}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}],
)
def test_it_is_off_unless_asked_for(environ: Dict[str, str]) -> None:
    assert from_environment(environ) is None


ASK = """
import asyncio
from kserve_wrapper.core.calls import V1Call
from kserve_wrapper.telemetry.tracing import from_environment

async def work(call):
    return call

tracing = from_environment({"OTEL_TRACES_EXPORTER": "console"})
asyncio.run(tracing.request(V1Call("m", None, True, [1]), work))
tracing.shutdown()
"""


def test_it_is_on_by_the_standard_variables() -> None:
    ran = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    assert '"explain m"' in ran.stdout
    assert '"service.name": "ts-kserve-wrapper"' in ran.stdout


def test_an_exporter_that_is_not_there_is_named() -> None:
    with pytest.raises(ImportError, match="the exporter zipkin is not installed"):
        from_environment({"OTEL_TRACES_EXPORTER": "zipkin"})


def test_nothing_of_it_is_imported_when_it_is_off() -> None:
    code = "import sys, kserve_wrapper.assembly; print([n for n in sys.modules if n.startswith('opentelemetry')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
