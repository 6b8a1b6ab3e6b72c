"""All routes of the HTTP front in one table."""

from __future__ import annotations

import contextlib
from typing import List, Optional

from kserve_wrapper.codecs.model_info import ModelInfo
from kserve_wrapper.core.calls import ModelMetadata
from kserve_wrapper.core.dataplane import DataPlane
from kserve_wrapper.core.errors import WrapperError
from kserve_wrapper.httpd.messages import Request, Response, json_response
from kserve_wrapper.rest.metrics import MetricsRoute
from kserve_wrapper.rest.model_info import ModelInfoRoutes, refuse_shared_memory
from kserve_wrapper.rest.openapi import document, page
from kserve_wrapper.rest.repository import RepositoryRoutes
from kserve_wrapper.rest.routing import Router
from kserve_wrapper.rest.v1 import V1
from kserve_wrapper.rest.v2 import V2
from kserve_wrapper.telemetry.metrics import Metrics
from kserve_wrapper.torchserve.scrape import TorchServeMetrics


def build_router(
    plane: DataPlane,
    metrics: Metrics,
    docs: bool = False,
    compat: bool = False,
    torchserve: Optional[TorchServeMetrics] = None,
    batch_rows: int = 128,
) -> Router:
    """Every route.

    Args:
        plane: answers the inference protocols.
        metrics: of the requests; shown at /metrics.
        docs: whether to serve the OpenAPI description.
        compat: whether V2 inference answers as the stock runtime does.
        torchserve: further metrics, shown behind ours.
        batch_rows: most rows that go through a model at once, as its configuration tells.
    """
    router = Router()
    V1(plane, metrics.stages).add_to(router)
    ModelInfoRoutes(plane, ModelInfo(plane, metrics.models, batch_rows)).add_to(router)
    V2(plane, metrics.stages, compat).add_to(router)
    RepositoryRoutes(plane).add_to(router)
    refuse_shared_memory(router)
    MetricsRoute(metrics, torchserve).add_to(router)

    async def alive(request: Request) -> Response:
        return json_response({"status": "alive"})

    router.add("/", GET=alive)
    if docs:
        _add_docs(router, plane)
    return router


def _described(plane: DataPlane) -> List[ModelMetadata]:
    """The metadata of the models that have told theirs."""
    found: List[ModelMetadata] = []
    for name in plane.models.models():
        with contextlib.suppress(WrapperError):
            found.append(plane.metadata(name))
    return found


def _add_docs(router: Router, plane: DataPlane) -> None:
    async def show_document(request: Request) -> Response:
        return json_response(document(_described(plane)))

    async def show_page(request: Request) -> Response:
        return Response(page(_described(plane)), content_type=b"text/html; charset=utf-8")

    router.add("/openapi.json", GET=show_document)
    router.add("/docs", GET=show_page)
