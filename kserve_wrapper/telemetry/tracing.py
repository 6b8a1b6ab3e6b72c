"""Spans by OpenTelemetry: of each request, of its time in the queue, and of the upstream request that it shares.

On where the standard variables ask for it (OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_ENDPOINT); sampling, resource and
exporter are the SDK's, by its own variables. Nothing of it is imported before. An upstream span belongs to the trace of
its oldest request, and is linked to all of them; its context travels to TorchServe.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any, Awaitable, Callable, Dict, Mapping, Optional, Sequence, Tuple

from kserve_wrapper._version import __version__
from kserve_wrapper.core.calls import Call, ModelMetadata, Reply, V1Call
from kserve_wrapper.core.errors import WrapperError

logger = logging.getLogger(__name__)

_NAME = "ts-kserve-wrapper"
_TRACEPARENT = "traceparent"
_CARRIED = (b"traceparent", b"tracestate")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

Send = Callable[[Call, ModelMetadata, float, Mapping[str, str]], Awaitable[Reply]]
ClientHeaders = Mapping[bytes, bytes]


def from_environment(environ: Mapping[str, str]) -> Optional[Tracing]:
    """Tracing as the variables say; None where they do not ask for it.

    Raises:
        ImportError: they do, and the SDK or the exporter is not installed.
    """
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip() or (
        "otlp" if any(environ.get(name) for name in _ENDPOINTS) else "none"
    )
    if exporter == "none" or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ImportError(
            "OTEL_ variables ask for traces, and opentelemetry-sdk is not installed: install the extra otel, or set "
            "OTEL_TRACES_EXPORTER=none"
        ) from None
    named = "OTEL_SERVICE_NAME" in environ or "service.name" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if named else {"service.name": _NAME}))
    provider.add_span_processor(BatchSpanProcessor(_exporter(exporter, environ)))
    logger.info("traces go to the exporter %s", exporter)
    return Tracing(provider)


def _exporter(name: str, environ: Mapping[str, str]) -> Any:
    from importlib.metadata import entry_points

    if name == "otlp":
        protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    group = "opentelemetry_traces_exporter"
    found: Any = entry_points()
    # Python 3.9 has them in a dictionary.
    known = found.select(group=group) if hasattr(found, "select") else found.get(group, ())
    for point in known:
        if point.name == name:
            return point.load()()
    raise ImportError(f"OTEL_TRACES_EXPORTER: the exporter {name} is not installed (opentelemetry-exporter-…)")


class Tracing:
    """Makes the spans.

    Args:
        provider: the SDK's TracerProvider.
    """

    def __init__(self, provider: Any) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("kserve_wrapper", __version__)
        self._trace = trace
        propagator = TraceContextTextMapPropagator()
        self._read_parent, self._write_parent = propagator.extract, propagator.inject
        self._nothing = Context()
        #: Upstream spans that were begun and not sent yet, by their traceparent.
        self._departing: Dict[str, Any] = {}

    async def request(self, call: Call, work: Callable[[Call], Awaitable[Reply]]) -> Reply:
        """``work``'s reply to the call, within a span that continues the client's trace."""
        verb = "explain" if call.explain else "predict" if isinstance(call, V1Call) else "infer"
        about = {"kserve_wrapper.model": call.model, "kserve_wrapper.verb": verb}
        context = self._context(call.headers)
        span = self._tracer.start_span(f"{verb} {call.model}", context, self._trace.SpanKind.SERVER, about)
        own = {name.encode(): value.encode() for name, value in self._carrier(span).items()}
        try:
            return await work(replace(call, headers={**call.headers, **own}))
        except BaseException as error:
            self._tell(span, error)
            raise
        finally:
            span.end()

    def departs(
        self, requests: Sequence[Tuple[ClientHeaders, float]], headers: Mapping[str, str], again: bool
    ) -> Mapping[str, str]:
        """What travels upstream beside a batch that leaves now.

        Args:
            requests: headers of each, the oldest first, and the seconds since its admission.
            headers: that travel in any case.
            again: it is sent once more; its requests' time in the queue has been told.
        """
        now = time.time_ns()
        contexts = [self._context(client) for client, _ in requests]
        if not again:
            for context, (_, waited) in zip(contexts, requests):
                self._tracer.start_span("queue", context, start_time=now - int(waited * 1e9)).end(now)
        links = [self._trace.Link(self._trace.get_current_span(c).get_span_context()) for c in contexts]
        about = {"kserve_wrapper.batch.requests": len(requests)}
        span = self._tracer.start_span("upstream", contexts[0], self._trace.SpanKind.CLIENT, about, links, now)
        carrier = self._carrier(span)
        self._departing[carrier[_TRACEPARENT]] = span
        return {**headers, **carrier}

    def sender(self, send: Send) -> Send:
        """``send``, which ends the span of each batch."""

        def traced(
            call: Call, metadata: ModelMetadata, deadline: float, headers: Mapping[str, str]
        ) -> Awaitable[Reply]:
            span = self._departing.pop(headers.get(_TRACEPARENT, ""), self._trace.INVALID_SPAN)
            try:
                sent = send(call, metadata, deadline, headers)
            except BaseException as error:
                self._tell(span, error)
                span.end()
                raise
            return self._watched(span, sent)

        return traced

    def shutdown(self) -> None:
        """Exports what is left."""
        self._provider.shutdown()

    async def _watched(self, span: Any, sent: Awaitable[Reply]) -> Reply:
        try:
            return await sent
        except BaseException as error:
            self._tell(span, error)
            raise
        finally:
            span.end()

    def _tell(self, span: Any, error: BaseException) -> None:
        """A client's own mistake is no failure of the server's, by OpenTelemetry's conventions."""
        status = error.status if isinstance(error, WrapperError) else None
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if status is None or status >= 500:
            text = error.message if isinstance(error, WrapperError) else type(error).__name__
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, text))

    def _context(self, headers: ClientHeaders) -> Any:
        carrier = {name.decode(): headers[name].decode("latin-1") for name in _CARRIED if name in headers}
        return self._read_parent(carrier, self._nothing)

    def _carrier(self, span: Any) -> Dict[str, str]:
        carrier: Dict[str, str] = {}
        self._write_parent(carrier, self._trace.set_span_in_context(span))
        return carrier
