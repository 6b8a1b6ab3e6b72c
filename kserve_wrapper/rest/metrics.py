"""What Prometheus reads at /metrics: the wrapper's metrics, and TorchServe's behind them."""

from __future__ import annotations

import logging
from typing import Optional

from kserve_wrapper.errors import WrapperError
from kserve_wrapper.metrics import CONTENT_TYPE, Metrics
from kserve_wrapper.rest.http import Request, Response
from kserve_wrapper.rest.routing import Router
from kserve_wrapper.torchserve.scrape import TorchServeMetrics

logger = logging.getLogger(__name__)


class MetricsRoute:
    """The page.

    Args:
        metrics: the wrapper's.
        torchserve: None leaves TorchServe's out. Where they cannot be had, the page has the wrapper's alone and
            ``kserve_wrapper_torchserve_metrics_up`` is 0: a scrape shall not fail when it has most to tell.
    """

    def __init__(self, metrics: Metrics, torchserve: Optional[TorchServeMetrics] = None) -> None:
        self._metrics = metrics
        self._torchserve = torchserve
        if torchserve is not None:
            text = "1 while TorchServe shows its metrics, which then follow on this page."
            self._up = metrics.gauge("kserve_wrapper_torchserve_metrics_up", text, mode="max")

    def add_to(self, router: Router) -> None:
        router.add("/metrics", GET=self.show)

    async def show(self, request: Request) -> Response:
        further = b"" if self._torchserve is None else await self._further(self._torchserve)
        return Response(self._metrics.expose() + further, content_type=CONTENT_TYPE.encode())

    async def _further(self, torchserve: TorchServeMetrics) -> bytes:
        try:
            text = await torchserve.text()
        except WrapperError as error:
            logger.info("metrics without TorchServe's: %s", error.message)
            self._up.set(0)
            return b""
        self._up.set(1)
        return text
