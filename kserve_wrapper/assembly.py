"""All parts of one process, put together."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Callable, List, Optional

from kserve_wrapper.batching.batcher import Coalescer
from kserve_wrapper.batching.cpu_yield import Handover
from kserve_wrapper.batching.dispatch import Observer
from kserve_wrapper.batching.limits import CoalescerLimits
from kserve_wrapper.core.calls import Call
from kserve_wrapper.core.dataplane import DataPlane
from kserve_wrapper.core.errors import WrapperError
from kserve_wrapper.rest.access_log import AccessLog, RequestObserver
from kserve_wrapper.rest.app import App
from kserve_wrapper.rest.routes import build_router
from kserve_wrapper.settings import Settings
from kserve_wrapper.telemetry.metrics import Metrics, ModelState
from kserve_wrapper.torchserve import load_log, readiness, tokens
from kserve_wrapper.torchserve.config import TorchServeConfig
from kserve_wrapper.torchserve.management import Management
from kserve_wrapper.torchserve.readiness import Readiness
from kserve_wrapper.torchserve.repository import ModelStore
from kserve_wrapper.torchserve.scrape import TorchServeMetrics
from kserve_wrapper.upstream.address import tls_context
from kserve_wrapper.upstream.client import Upstream

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a process runs, watches and stops."""

    app: App
    plane: DataPlane
    coalescer: Coalescer
    upstream: Upstream
    readiness: Readiness
    metrics: Metrics


def assemble(settings: Settings, config: TorchServeConfig) -> Parts:
    """Builds everything; nothing runs yet. To be called within the event loop."""
    metrics = Metrics()
    keys = tokens.find(os.environ, config.disable_token_authorization)
    management = Management(config.management, keys, config.certificate_file)
    follower = Readiness(management, config, _readiness_settings(settings), load_log.find(os.environ))
    upstream = Upstream(
        config.inference,
        tls_context(config.inference, config.certificate_file),
        follower=follower,
        took=metrics.stages.upstream.observe,
        authorize=lambda: keys.headers("inference").get("Authorization"),
        request_limit=config.max_request_size,
        response_limit=config.max_response_size + 65536,
    )
    limits = _limits(settings, config)
    coalescer = Coalescer(
        upstream.send,
        limits,
        follower.workers,
        follower.metadata,
        follower.default_version,
        observer=_Counter(metrics),
        answer_came=answer_came(settings),
        took=metrics.stages.submit.observe,
    )
    plane = DataPlane(
        follower,
        coalescer,
        ModelStore(management, follower, config),
        settings.request_timeout,
        settings.max_rows,
    )
    app = App(
        build_router(plane, metrics, settings.enable_docs_url, settings.compat, _torchserve_metrics(settings, config)),
        _observer(settings, metrics),
    )
    metrics.follow_models(lambda: _states(plane, follower))
    return Parts(app, plane, coalescer, upstream, follower, metrics)


def _states(plane: DataPlane, follower: Readiness) -> List[ModelState]:
    return [ModelState(name, plane.model_ready(name), follower.workers(name)) for name in follower.models()]


class _Counter(Observer):
    """Counts what the coalescer tells."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def sent(self, call: Call, requests: int, rows: int) -> None:
        self._metrics.batch_rows.observe(rows)
        self._metrics.batch_requests.observe(requests)

    def failed(self, call: Call, error: WrapperError, requests: int) -> None:
        self._metrics.count_upstream_error(error.status)

    def dropped(self, call: Call, reason: str) -> None:
        self._metrics.count_dropped(reason)


def _torchserve_metrics(settings: Settings, config: TorchServeConfig) -> Optional[TorchServeMetrics]:
    if not (settings.torchserve_metrics and config.enable_metrics_api):
        return None
    return TorchServeMetrics(config.metrics, config.certificate_file)


def _observer(settings: Settings, metrics: Metrics) -> RequestObserver:
    return RequestObserver(metrics, AccessLog(settings.access_log_format) if settings.access_log else None)


def answer_came(settings: Settings) -> Callable[[int, int], None]:
    """What to do when an answer comes. Answers to single requests are not worth a pause each."""
    if settings.give_way and settings.coalesce:
        return Handover(settings.workers).give_way
    return lambda in_flight, workers: None


def _limits(settings: Settings, config: TorchServeConfig) -> CoalescerLimits:
    """The settings, kept below what TorchServe takes and gives: headers and framing need a little room."""
    return CoalescerLimits(
        enabled=settings.coalesce,
        rows_per_batch=settings.rows_per_batch,
        bytes_per_batch=min(settings.bytes_per_batch, config.max_request_size * 9 // 10),
        reply_bytes_per_batch=min(settings.reply_bytes_per_batch, config.max_response_size * 9 // 10),
        queued_requests=settings.queued_requests,
        queued_rows=settings.queued_rows,
        queued_bytes=settings.queued_bytes,
        in_flight_per_worker=settings.in_flight_per_worker,
        ahead=settings.send_ahead,
        processes=settings.workers,
        upstream_queue=config.job_queue_size,
        resends_per_batch=settings.resends_per_batch,
        linger=config.longest_response_timeout,
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
