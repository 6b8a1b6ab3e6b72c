"""All routes of the HTTP front in one table."""

from __future__ import annotations

from kserve_wrapper.dataplane import DataPlane
from kserve_wrapper.metrics import CONTENT_TYPE, Metrics
from kserve_wrapper.openapi import document, page
from kserve_wrapper.rest.http import Request, Response, json_response
from kserve_wrapper.rest.repository import RepositoryRoutes
from kserve_wrapper.rest.routing import Router
from kserve_wrapper.rest.v1 import V1
from kserve_wrapper.rest.v2 import V2


def build_router(plane: DataPlane, metrics: Metrics, docs: bool = False) -> Router:
    """Every route.

    Args:
        plane: answers the inference protocols.
        metrics: shown at /metrics.
        docs: whether to serve the OpenAPI description.
    """
    router = Router()
    V1(plane, metrics.stages).add_to(router)
    V2(plane, metrics.stages).add_to(router)
    RepositoryRoutes(plane).add_to(router)

    async def alive(request: Request) -> Response:
        return json_response({"status": "alive"})

    async def show_metrics(request: Request) -> Response:
        return Response(metrics.expose(), content_type=CONTENT_TYPE.encode())

    router.add("/", GET=alive)
    router.add("/metrics", GET=show_metrics)
    if docs:
        _add_docs(router)
    return router


def _add_docs(router: Router) -> None:
    async def show_document(request: Request) -> Response:
        return json_response(document())

    async def show_page(request: Request) -> Response:
        return Response(page(), content_type=b"text/html; charset=utf-8")

    router.add("/openapi.json", GET=show_document)
    router.add("/docs", GET=show_page)
