"""What Prometheus reads at /metrics: the wrapper's metrics, and TorchServe's behind them."""

from __future__ import annotations

from typing import Optional

from kserve_wrapper.httpd.messages import Request, Response
from kserve_wrapper.rest.routing import Router
from kserve_wrapper.telemetry.metrics import CONTENT_TYPE, Metrics
from kserve_wrapper.torchserve.scrape import TorchServeMetrics

#: Says of the page itself what it has, so it is no metric of a process.
UP = (
    b"# HELP kserve_wrapper_torchserve_metrics_up 1 where TorchServe's metrics follow on this page.\n"
    b"# TYPE kserve_wrapper_torchserve_metrics_up gauge\n"
    b"kserve_wrapper_torchserve_metrics_up %d.0\n"
)


class MetricsRoute:
    """The page.

    Args:
        metrics: the wrapper's.
        torchserve: None leaves TorchServe's out. Where they cannot be had, the page has the wrapper's alone: a scrape
            shall not fail when it has most to tell.
    """

    def __init__(self, metrics: Metrics, torchserve: Optional[TorchServeMetrics] = None) -> None:
        self._metrics = metrics
        self._torchserve = torchserve

    def add_to(self, router: Router) -> None:
        router.add("/metrics", GET=self.show)

    async def show(self, request: Request) -> Response:
        further = b"" if self._torchserve is None else await self._further(self._torchserve)
        return Response(self._metrics.expose() + further, content_type=CONTENT_TYPE.encode())

    async def _further(self, torchserve: TorchServeMetrics) -> bytes:
        text = await torchserve.text()
        return UP % bool(text) + (text or b"")
