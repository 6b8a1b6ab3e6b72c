"""An inference route: what is the protocol's own about it, and the way through the data plane that all share."""

from __future__ import annotations

from typing import Callable, Generic, Tuple, TypeVar

from kserve_wrapper.core.calls import Call, Reply
from kserve_wrapper.core.dataplane import DataPlane
from kserve_wrapper.httpd.messages import Request, Response

T = TypeVar("T")


class Inference(Generic[T]):
    """The handler of such a route.

    Args:
        plane: answers.
        decode: the call, and what ``encode`` has to know, out of the request, its body and the path's parameters.
            Raises WrapperError.
        encode: the response with a reply.
    """

    def __init__(
        self,
        plane: DataPlane,
        decode: Callable[..., Tuple[Call, T]],
        encode: Callable[[T, Reply], Response],
    ) -> None:
        self._plane = plane
        self._decode = decode
        self._encode = encode

    async def __call__(self, request: Request, *params: str) -> Response:
        call, asked = self._decode(request, await request.body(), *params)
        return self._encode(asked, await self._plane.infer(call))
