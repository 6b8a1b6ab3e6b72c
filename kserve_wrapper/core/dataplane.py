"""The one data plane behind all fronts: what is served, is it ready, and the way of a call to its reply."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Collection, Dict, List, Optional, Protocol

from kserve_wrapper._version import __version__
from kserve_wrapper.core.calls import Call, ModelMetadata, Reply, V1Call, V2Call
from kserve_wrapper.core.errors import DeadlineExceeded, NotFound, TooLarge, Unavailable, WrapperError
from kserve_wrapper.core.naming import name_input
from kserve_wrapper.core.siblings import Siblings

NAME = "ts-kserve-wrapper"
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "parameters",
    "model_repository",
    "model_configuration",
    "statistics",
    "explain",
)
_LEAVING = "the server is shutting down"


class Models(Protocol):
    """What TorchServe serves, followed from outside. Names and versions that are unknown raise NotFound."""

    def live(self) -> bool: ...

    def ready(self) -> bool: ...

    def models(self) -> List[str]: ...

    def model_ready(self, name: str, version: Optional[str] = None) -> bool: ...

    def default_version(self, name: str) -> Optional[str]:
        """The version that answers calls without one; None while that is unknown."""
        ...

    def metadata(self, name: str, version: Optional[str] = None) -> ModelMetadata: ...

    def described(self, name: str, version: Optional[str] = None) -> bool:
        """A worker was asked for the metadata: what ``metadata`` returns is all there is."""
        ...

    def reason(self, name: str, version: Optional[str] = None) -> str:
        """Why the model is not ready, in words for clients."""
        ...


class Submitter(Protocol):
    """Takes calls and brings their replies: the batcher."""

    async def submit(self, call: Call, deadline: float) -> Reply: ...

    def check_room(self, model: str, version: Optional[str], size: int) -> None:
        """Raises QueueFull where a request of so many bytes would not be taken in now."""
        ...

    async def drain(self, timeout: float) -> bool:
        """Refuses what is new, finishes what is here, and after ``timeout`` seconds fails the rest; True if none."""
        ...


class Repository(Protocol):
    """The model store: what is there, and what of it TorchServe serves."""

    async def load(self, name: str, parameters: Collection[str] = ()) -> None:
        """``parameters``: names of what the client asks beside; InvalidRequest where that is not honoured."""
        ...

    async def unload(self, name: str) -> None: ...

    async def index(self) -> List[Dict[str, str]]:
        """One ``{"name", "version", "state", "reason"}`` per model and version; state READY, UNAVAILABLE …"""
        ...


class DataPlane:
    """Serves calls within their limits.

    Args:
        models: readiness and metadata.
        submitter: where calls go.
        repository: None where model control is not offered.
        request_timeout: seconds until a call without a nearer deadline of its own expires; 0 = an hour.
        max_rows: rows that one request may bring; 0 = any number.
        siblings: the server processes behind the same ports; None where this is the only one.
    """

    def __init__(
        self,
        models: Models,
        submitter: Submitter,
        repository: Optional[Repository] = None,
        request_timeout: float = 60.0,
        max_rows: int = 0,
        siblings: Optional[Siblings] = None,
    ) -> None:
        self.models = models
        self.repository = repository
        self._submitter = submitter
        self._request_timeout = request_timeout or 3600.0
        self._max_rows = max_rows
        self._siblings = siblings
        self._leaving = self._draining = False

    def live(self) -> bool:
        return self.models.live()

    def ready(self) -> bool:
        """Every model is, in every server process: a request may come to any of them."""
        return self._ready_here() and (self._siblings is None or self._siblings.ready())

    def tell_siblings(self) -> None:
        """To be called every now and then: whether this process is ready."""
        if self._siblings is not None:
            self._siblings.tell(self._ready_here())

    def _ready_here(self) -> bool:
        return not self._leaving and self.models.ready()

    def model_ready(self, name: str, version: Optional[str] = None) -> bool:
        """Raises NotFound for what is not served."""
        return self.models.model_ready(name, version) and not self._leaving

    def why_not_ready(self, name: str, version: Optional[str] = None) -> str:
        """Why a model is not ready, in one line. Raises NotFound for what is not served."""
        return _LEAVING if self._leaving else self.models.reason(name, version)

    def why_not_all_ready(self) -> str:
        """Why ``ready`` is false, in one line."""
        if self._leaving:
            return _LEAVING
        reasons = ((name, self.models.reason(name)) for name in self.models.models())
        found = next((f"model {name}: {reason}" for name, reason in reasons if reason), None)
        return found or "the model server, or another process of this one, is not ready yet"

    def metadata(self, name: str, version: Optional[str] = None) -> ModelMetadata:
        """Raises NotFound for what is not served, Unavailable before a worker could be asked."""
        if not self.models.described(name, version):
            raise self._not_ready(name, version)
        return self.models.metadata(name, version)

    def labels(self, call: V2Call) -> List[str]:
        """Names of the classes of the model that answered a call, where its handler tells them."""
        with suppress(NotFound):
            return self.models.metadata(call.model, call.version).labels
        return []

    def server_metadata(self) -> Dict[str, Any]:
        return {"name": NAME, "version": __version__, "extensions": list(EXTENSIONS)}

    def check_room(self, model: str, version: Optional[str], size: int) -> None:
        """Says of a request of so many bytes, before it is read and decoded, whether it would be taken in now.

        Raises:
            NotFound, Unavailable: it would not, whatever it holds.
        """
        self._check_ready(model, version)
        self._submitter.check_room(model, version, size)

    async def infer(self, call: Call, timeout: Optional[float] = None) -> Reply:
        """Brings the reply to a call.

        Args:
            call: validated by its codec.
            timeout: seconds that the client waits, where it told; the server's own limit holds beside it.

        Raises:
            NotFound, Unavailable, TooLarge, DeadlineExceeded: and whatever WrapperError the submitter raises.
        """
        try:
            return await self._submitter.submit(call, self._admit(call, timeout))
        except WrapperError as error:
            # NotFound: it is gone since the call was taken in.
            with suppress(NotFound):
                if isinstance(call, V2Call):
                    name_input(error, call, self.models.metadata(call.model, call.version))
            raise

    def leave(self) -> None:
        """Is no longer ready, so that requests go elsewhere; those that come all the same are served."""
        self._leaving = True

    async def drain(self, timeout: float) -> bool:
        """Refuses new calls, finishes those in flight, and after ``timeout`` seconds fails the rest; True if none."""
        self._leaving = self._draining = True
        return await self._submitter.drain(timeout)

    def _admit(self, call: Call, timeout: Optional[float]) -> float:
        """The call's deadline. Raises as ``infer`` does."""
        self._check_ready(call.model, call.version)
        if self._max_rows and (rows := count_rows(call)) > self._max_rows:
            raise TooLarge(f"{rows} rows in one request; the limit is {self._max_rows}: send them in parts")
        limit = self._request_timeout if timeout is None else min(timeout, self._request_timeout)
        if call.timeout is not None:
            limit = min(limit, call.timeout)
        if limit <= 0:
            raise DeadlineExceeded("the deadline passed before the request was read")
        return time.monotonic() + limit

    def _check_ready(self, name: str, version: Optional[str]) -> None:
        if self._draining:
            raise Unavailable(_LEAVING, retry_after=1)
        if not self.models.model_ready(name, version):
            raise self._not_ready(name, version)

    def _not_ready(self, name: str, version: Optional[str]) -> Unavailable:
        return Unavailable(f"model {name} is not ready: {self.models.reason(name, version)}", retry_after=1)


def count_rows(call: Call) -> int:
    """Rows of a call: instances, or the largest first dimension of the inputs (their number, where it is larger)."""
    if isinstance(call, V1Call):
        return len(call.instances)
    return max([len(call.inputs), *[tensor.shape[0] if tensor.shape else 1 for tensor in call.inputs]])
