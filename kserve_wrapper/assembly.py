"""All parts of one process, put together."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import partial
from typing import Any, List, Mapping, Optional, Sequence

from kserve_wrapper.batching.batcher import Batcher
from kserve_wrapper.batching.dispatch import Observer
from kserve_wrapper.batching.limits import BatchingLimits
from kserve_wrapper.batching.queue import PendingRequest
from kserve_wrapper.core.calls import Call, Reply
from kserve_wrapper.core.dataplane import DataPlane
from kserve_wrapper.core.errors import WrapperError
from kserve_wrapper.core.headers import HeaderPolicy
from kserve_wrapper.core.siblings import Siblings
from kserve_wrapper.rest.access_log import AccessLog, RequestObserver
from kserve_wrapper.rest.app import App
from kserve_wrapper.rest.cors import Cors
from kserve_wrapper.rest.routes import build_router
from kserve_wrapper.settings import ROWS_PER_BATCH, Settings, listed
from kserve_wrapper.telemetry.metrics import Metrics, ModelState
from kserve_wrapper.telemetry.tracing import Tracing, from_environment
from kserve_wrapper.torchserve import log_records, readiness, tokens
from kserve_wrapper.torchserve.answer_log import AnswerLog
from kserve_wrapper.torchserve.config import TorchServeConfig
from kserve_wrapper.torchserve.load_log import LoadLog
from kserve_wrapper.torchserve.management import Management
from kserve_wrapper.torchserve.readiness import Readiness
from kserve_wrapper.torchserve.repository import ModelStore
from kserve_wrapper.torchserve.scrape import TorchServeMetrics
from kserve_wrapper.upstream.address import tls_context
from kserve_wrapper.upstream.client import Upstream
from kserve_wrapper.upstream.envelopes import ONE_REQUEST

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a process runs, watches and stops."""

    app: App
    plane: DataPlane
    batcher: Batcher
    upstream: Upstream
    readiness: Readiness
    metrics: Metrics
    #: None where no spans are asked for.
    tracing: Optional[Tracing]


def assemble(settings: Settings, config: TorchServeConfig, siblings: Optional[Siblings] = None) -> Parts:
    """Builds everything; nothing runs yet. To be called within the event loop."""
    metrics = Metrics()
    tracing = from_environment(os.environ)
    keys = tokens.find(os.environ, config.disable_token_authorization)
    management = Management(config.management, keys, config.certificate_file)
    log = log_records.find(os.environ)
    follower = Readiness(management, config, _readiness_settings(settings), LoadLog(log))
    upstream = Upstream(
        config.inference,
        tls_context(config.inference, config.certificate_file),
        follower=follower,
        took=metrics.stages.upstream.observe,
        authorize=lambda: keys.headers("inference").get("Authorization"),
        request_limit=config.max_request_size,
        response_limit=config.max_response_size + 65536,
        envelope=config.service_envelope,
        explain=AnswerLog(log, config.max_response_size).explain,
    )
    batcher = Batcher(
        upstream.send if tracing is None else tracing.sender(upstream.send),
        _limits(settings, config),
        follower.capacity,
        follower.metadata,
        follower.default_version,
        HeaderPolicy(listed(settings.forward_headers)),
        observer=_Counter(metrics) if tracing is None else _TracedCounter(metrics, tracing),
        took=metrics.stages.submit.observe,
    )
    store = ModelStore(management, follower, config)
    served = (follower, batcher, store, settings.request_timeout, settings.max_rows, siblings)
    plane = DataPlane(*served) if tracing is None else _TracedPlane(tracing, *served)
    app = App(
        build_router(
            plane,
            metrics,
            settings.enable_docs_url,
            settings.compat,
            _torchserve_metrics(settings, config),
            settings.batch_rows,
        ),
        _observer(settings, metrics),
        lambda route, status: metrics.count_request("http", route, status, 0.0),
        _cors(settings),
        settings.compress_from,
    )
    metrics.follow_models(lambda: _states(plane, follower))
    return Parts(app, plane, batcher, upstream, follower, metrics, tracing)


def _states(plane: DataPlane, follower: Readiness) -> List[ModelState]:
    return [ModelState(name, plane.model_ready(name), follower.workers(name)) for name in follower.models()]


class _Counter(Observer):
    """Counts what the batcher tells."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def sent(self, call: Call, requests: int, rows: int) -> None:
        self._metrics.batch_rows.observe(rows)
        self._metrics.batch_requests.observe(requests)

    def answered(
        self, model: str, version: Optional[str], rows: int, requests: int, waited: float, seconds: float
    ) -> None:
        self._metrics.models.answered(model, version, rows, requests, waited, seconds)

    def given_up(self, model: str, version: Optional[str], seconds: float) -> None:
        self._metrics.models.failed(model, version, seconds)

    def failed(self, call: Call, error: WrapperError, requests: int) -> None:
        self._metrics.count_upstream_error(error.status)

    def isolated(self, call: Call, sends: int) -> None:
        self._metrics.isolation_sends.inc(sends)

    def lost_trust(self, call: Call) -> None:
        self._metrics.lost_trust(call.model)

    def dropped(self, call: Call, reason: str) -> None:
        self._metrics.count_dropped(reason)


class _TracedCounter(_Counter):
    """Gives each batch a span, too."""

    def __init__(self, metrics: Metrics, tracing: Tracing) -> None:
        super().__init__(metrics)
        self._tracing = tracing

    def departs(
        self, requests: Sequence[PendingRequest], now: float, headers: Mapping[str, str], again: bool
    ) -> Mapping[str, str]:
        waits = [(request.part.call.headers, now - request.admitted) for request in requests]
        return self._tracing.departs(waits, headers, again)


class _TracedPlane(DataPlane):
    """Gives each call a span."""

    def __init__(self, tracing: Tracing, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._tracing = tracing

    async def infer(self, call: Call, timeout: Optional[float] = None) -> Reply:
        return await self._tracing.request(call, partial(super().infer, timeout=timeout))


def _cors(settings: Settings) -> Optional[Cors]:
    origins = listed(settings.cors_origins or "")
    return Cors(origins) if origins else None


def _torchserve_metrics(settings: Settings, config: TorchServeConfig) -> Optional[TorchServeMetrics]:
    if not (settings.torchserve_metrics and config.enable_metrics_api):
        return None
    return TorchServeMetrics(config.metrics, config.certificate_file)


def _observer(settings: Settings, metrics: Metrics) -> RequestObserver:
    return RequestObserver(metrics, AccessLog(settings.access_log_format) if settings.access_log else None)


def _limits(settings: Settings, config: TorchServeConfig) -> BatchingLimits:
    """The settings, kept below what TorchServe takes and gives: headers and framing need a little room."""
    return BatchingLimits(
        enabled=settings.batching,
        independent_rows=frozenset(listed(settings.independent_rows)),
        rows_per_batch=settings.rows_per_batch or ROWS_PER_BATCH,
        preferred_sizes=not settings.rows_per_batch,
        bytes_per_batch=min(settings.bytes_per_batch, config.max_request_size * 9 // 10),
        reply_bytes_per_batch=min(settings.reply_bytes_per_batch, config.max_response_size * 9 // 10),
        queued_requests=settings.queued_requests,
        queued_rows=settings.queued_rows,
        queued_bytes=settings.queued_bytes,
        total_queued_bytes=settings.total_queued_bytes,
        in_flight_per_worker=settings.in_flight_per_worker,
        pipelining=settings.pipelining,
        processes=settings.workers,
        job_queue_size=config.job_queue_size,
        stock_envelope=config.service_envelope in ONE_REQUEST,
        orphan_timeout=config.longest_response_timeout,
    )


def _readiness_settings(settings: Settings) -> readiness.Settings:
    return readiness.Settings(
        start_limit=settings.start_limit,
        gone_limit=settings.gone_limit,
        worker_limit=settings.worker_limit,
        load_customized=settings.model_load_customized,
        load_max_try=settings.model_load_max_try,
        load_delay=settings.model_load_delay,
        load_timeout=settings.model_load_timeout,
    )
