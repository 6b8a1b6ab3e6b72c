"""What Prometheus sees at /metrics.

Names and units follow Prometheus's conventions. Children of labelled metrics are looked up once and kept, as the
lookup costs more than the count.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Iterable, Iterator, NamedTuple, Optional, Tuple, Union

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from kserve_wrapper.telemetry.buffered import Count, Tally
from kserve_wrapper.telemetry.statistics import Statistics

CONTENT_TYPE = CONTENT_TYPE_LATEST
#: Where the processes of ``--workers N`` keep their counts; prometheus-client reads it when it is imported.
MULTIPROCESS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Stages:
    """Seconds that a request spends in each stage within this process and upstream."""

    def __init__(self, registry: CollectorRegistry) -> None:
        histogram = Histogram(
            "kserve_wrapper_stage_duration_seconds",
            "Time by stage: decode, submit (queue and upstream), upstream (a batch's), encode.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.decode = Tally(histogram.labels("decode"))
        self.submit = Tally(histogram.labels("submit"))
        self.upstream = Tally(histogram.labels("upstream"))
        self.encode = Tally(histogram.labels("encode"))

    def flush(self) -> None:
        for tally in (self.decode, self.submit, self.upstream, self.encode):
            tally.flush()


class ModelState(NamedTuple):
    """What is shown of one model. ``slots``: its workers that are ready."""

    name: str
    ready: bool
    slots: int


class ModelGauges:
    """Gauges by model, asked for when somebody looks: a model that is unloaded is gone from them at once.

    Of several processes the one that answers tells; all follow the same TorchServe.
    """

    def __init__(self) -> None:
        #: The models that are served now.
        self.states: Callable[[], Iterable[ModelState]] = tuple

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """As prometheus_client asks a collector."""
        slots = GaugeMetricFamily("kserve_wrapper_slots", "Ready workers, which are slots, by model.", labels=["model"])
        ready = GaugeMetricFamily("kserve_wrapper_model_ready", "1 while the model is ready.", labels=["model"])
        for state in self.states():
            slots.add_metric([state.name], state.slots)
            ready.add_metric([state.name], int(state.ready))
        yield slots
        yield ready


class Metrics:
    """All metrics of one process."""

    def __init__(self, registry: Optional[CollectorRegistry] = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.stages = Stages(self.registry)
        #: By model, for V2's statistics.
        self.models = Statistics(os.environ.get(MULTIPROCESS_DIRECTORY))
        self._requests = Counter(
            "kserve_wrapper_requests_total",
            "Requests by protocol, route and status code.",
            ["protocol", "route", "code"],
            registry=self.registry,
        )
        self._durations = Histogram(
            "kserve_wrapper_request_duration_seconds",
            "Time from a request's headers to its answer.",
            ["protocol", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_rows = self._sizes("kserve_wrapper_batch_rows", "Rows of each upstream request.")
        self.batch_requests = self._sizes("kserve_wrapper_batch_requests", "Requests in each upstream request.")
        self._upstream_errors = Counter(
            "kserve_wrapper_upstream_errors_total",
            "Upstream requests that failed, by HTTP status.",
            ["code"],
            registry=self.registry,
        )
        self.isolation_sends = Counter(
            "kserve_wrapper_isolation_sends_total",
            "Upstream requests that went out again because a batch failed and was taken apart.",
            registry=self.registry,
        )
        self._lost_trust = Counter(
            "kserve_wrapper_lost_trust_total",
            "Times that a model failed requests for their company alone, which then go alone for a while.",
            ["model"],
            registry=self.registry,
        )
        self._dropped = Counter(
            "kserve_wrapper_dropped_requests_total",
            "Requests that ended without an answer: expired, cancelled, full (the queue), late (foreseen to be).",
            ["reason"],
            registry=self.registry,
        )
        self.open = self._gauge("kserve_wrapper_open_requests", "Requests taken in that have no outcome yet.")
        self.queue = self._gauge("kserve_wrapper_queue_requests", "Requests that wait for a slot.")
        self.queue_rows = self._gauge("kserve_wrapper_queue_rows", "Rows that wait for a slot.")
        self.tasks = self._gauge("kserve_wrapper_event_loop_tasks", "Tasks of the event loop.")
        self.in_flight = self._gauge("kserve_wrapper_upstream_in_flight", "Upstream requests under way.")
        self._model_gauges = ModelGauges()
        _register(self.registry, self._model_gauges)
        self._answers: Dict[Tuple[str, str, Union[int, str]], Tuple[Count, Tally]] = {}
        self._tallies: Dict[Tuple[str, str], Tally] = {}
        self._error_children: Dict[int, Counter] = {}

    def _sizes(self, name: str, text: str) -> Tally:
        return Tally(Histogram(name, text, buckets=_ROWS, registry=self.registry))

    def _gauge(self, name: str, text: str) -> Gauge:
        """Several processes show their sum."""
        return Gauge(name, text, registry=self.registry, multiprocess_mode="livesum")

    def count_request(self, protocol: str, route: str, code: Union[int, str], seconds: float) -> None:
        """Counts one request that is over; ``code`` is the HTTP status or the name of gRPC's."""
        known = self._answers.get((protocol, route, code))
        if known is None:
            known = self._answers[protocol, route, code] = self._new_answer(protocol, route, str(code))
        count, tally = known
        count.inc()
        tally.observe(seconds)

    def _new_answer(self, protocol: str, route: str, code: str) -> Tuple[Count, Tally]:
        """What counts such answers; their time is told by route, whatever the code."""
        tally = self._tallies.get((protocol, route))
        if tally is None:
            tally = self._tallies[protocol, route] = Tally(self._durations.labels(protocol, route))
        return Count(self._requests.labels(protocol, route, code)), tally

    def count_upstream_error(self, status: int) -> None:
        child = self._error_children.get(status)
        if child is None:
            child = self._error_children[status] = self._upstream_errors.labels(str(status))
        child.inc()

    def lost_trust(self, model: str) -> None:
        self._lost_trust.labels(model).inc()

    def count_dropped(self, reason: str) -> None:
        self._dropped.labels(reason).inc()

    def follow_models(self, states: Callable[[], Iterable[ModelState]]) -> None:
        """Shows gauges by model; ``states`` is asked when somebody looks."""
        self._model_gauges.states = states

    def flush(self) -> None:
        """Has what was counted here seen by the other processes of ``--workers N``."""
        self.stages.flush()
        self.models.flush()
        for tally in (self.batch_rows, self.batch_requests, *self._tallies.values()):
            tally.flush()
        for count, _ in self._answers.values():
            count.flush()

    def expose(self) -> bytes:
        """The text for Prometheus; with several processes, that of all of them (of the others as of a moment ago)."""
        self.flush()
        if not os.environ.get(MULTIPROCESS_DIRECTORY):
            return bytes(generate_latest(self.registry))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        _register(registry, self._model_gauges)
        return bytes(generate_latest(registry))


def _register(registry: CollectorRegistry, collector: Any) -> None:
    # Older clients have no base class for collectors, so none is inherited from.
    registry.register(collector)
