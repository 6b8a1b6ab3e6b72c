"""Routes of Triton's extensions that tell of models: configuration and statistics."""

from __future__ import annotations

from typing import Optional

from kserve_wrapper.codecs.model_info import ModelInfo
from kserve_wrapper.core.dataplane import DataPlane
from kserve_wrapper.httpd.messages import Request, Response, json_response
from kserve_wrapper.rest.routing import Router
from kserve_wrapper.rest.v2 import metadata_object


class ModelInfoRoutes:
    """Handlers.

    Args:
        plane: knows the models.
        info: answers.
    """

    def __init__(self, plane: DataPlane, info: ModelInfo) -> None:
        self._plane = plane
        self._info = info

    def add_to(self, router: Router) -> None:
        router.add("/v2/models/stats", GET=self.all_statistics)
        for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            router.add(f"{prefix}/config", GET=self.config)
            router.add(f"{prefix}/stats", GET=self.statistics)

    async def all_statistics(self, request: Request) -> Response:
        """Of all models; where one is named ``stats``, the path is that model's metadata."""
        if "stats" in self._plane.models.models():
            return json_response(metadata_object(self._plane.metadata("stats")))
        return json_response(self._info.statistics())

    async def config(self, request: Request, model: str, version: Optional[str] = None) -> Response:
        return json_response(self._info.config(model, version))

    async def statistics(self, request: Request, model: str, version: Optional[str] = None) -> Response:
        return json_response(self._info.statistics(model, version))


def refuse_shared_memory(router: Router) -> None:
    """Triton's routes for memory shared with clients get a 404 that says so."""
    for kind in ("systemsharedmemory", "cudasharedmemory"):
        for template in (f"/v2/{kind}/{{verb}}", f"/v2/{kind}/region/{{name}}/{{verb}}"):
            router.refuse(template, _no_shared_memory)


def _no_shared_memory(*params: str) -> str:
    return "shared memory is not offered here: send tensors in the request"
