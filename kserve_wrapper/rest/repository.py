"""The model repository extension over HTTP: what is in the store, load and unload."""

from __future__ import annotations

from kserve_wrapper.core.dataplane import DataPlane, Repository
from kserve_wrapper.core.errors import InvalidRequest, Unavailable
from kserve_wrapper.httpd.messages import Request, Response, json_response
from kserve_wrapper.rest.routing import Router


class RepositoryRoutes:
    """Handlers of the repository.

    Args:
        plane: holds the repository.
    """

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def add_to(self, router: Router) -> None:
        router.add("/v2/repository/index", POST=self.index)
        router.add("/v2/repository/models/{model}/load", POST=self.load)
        router.add("/v2/repository/models/{model}/unload", POST=self.unload)

    async def index(self, request: Request) -> Response:
        """The models of the store; with ``{"ready": true}`` only those that are ready."""
        ready = (await request.json()).get("ready", False)
        if not isinstance(ready, bool):
            raise InvalidRequest("ready must be true or false")
        entries = await self._repository().index()
        return json_response([entry for entry in entries if not ready or entry.get("state") == "READY"])

    async def load(self, request: Request, model: str) -> Response:
        parameters = (await request.json()).get("parameters") or {}
        if not isinstance(parameters, dict):
            raise InvalidRequest("parameters must be an object")
        await self._repository().load(model, tuple(parameters))
        return json_response({"name": model, "load": True})

    async def unload(self, request: Request, model: str) -> Response:
        await request.json()
        await self._repository().unload(model)
        return json_response({"name": model, "unload": True})

    def _repository(self) -> Repository:
        if self._plane.repository is None:
            raise Unavailable("the model repository is not available")
        return self._plane.repository
