"""The model repository extension, mapped to TorchServe's management API.

The repository is TorchServe's model store: an archive ``NAME.mar`` is a model, and so is every model of the snapshot,
with the archive and the numbers that the snapshot gives it.
"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any, Awaitable, Callable, Collection, Dict, List, Optional, Protocol, Set

from kserve_wrapper.core.errors import Forbidden, InvalidRequest, MethodNotAllowed, NotFound, Unavailable
from kserve_wrapper.torchserve.config import TorchServeConfig
from kserve_wrapper.torchserve.snapshot import SnapshotModel

#: What a name may be that becomes the name of a file.
_NAME = re.compile(r"\w[\w.-]{0,127}\Z")
_SUFFIX = ".mar"
#: Seconds between two looks at whether a change has arrived, and how long it may take.
_LOOK = 0.05
_PATIENCE = 60.0


class Control(Protocol):
    """TorchServe's management API."""

    async def register(self, url: str, timeout: float = 300.0, **parameters: Any) -> None: ...

    async def unregister(self, name: str, version: Optional[str] = None, timeout: float = 120.0) -> None: ...


class Served(Protocol):
    """What TorchServe serves now."""

    def models(self) -> List[str]: ...

    def versions(self, name: str) -> List[str]: ...

    def default_version(self, name: str) -> Optional[str]: ...

    def model_ready(self, name: str, version: Optional[str] = None) -> bool: ...

    def reason(self, name: str, version: Optional[str] = None) -> str: ...

    def archives(self) -> Set[str]:
        """File names of the archives that are served."""
        ...


class ModelStore:
    """Index, load and unload.

    Args:
        control: changes what TorchServe serves.
        served: tells what it serves.
        config: where the store is, and the snapshot.
    """

    def __init__(self, control: Control, served: Served, config: TorchServeConfig) -> None:
        self._control = control
        self._served = served
        self._config = config

    async def index(self) -> List[Dict[str, str]]:
        """All versions that are served, then what else lies in the store.

        Each is ``{"name", "version", "state", "reason"}``; the state is READY or UNAVAILABLE.
        """
        entries = [entry for name in self._served.models() for entry in self._entries(name)]
        known = {entry["name"] for entry in entries}
        missing = sorted(set(self._config.models) - known)
        archives = await asyncio.get_running_loop().run_in_executor(None, self._archives)
        # An archive may have another name than its model, which the snapshot or TorchServe tells.
        used = self._served.archives() | {
            model.mar_name for versions in self._config.models.values() for model in versions.values()
        }
        spare = [name for name in archives if name not in known and name + _SUFFIX not in used]
        return entries + [_entry(name, "", "UNAVAILABLE", "unloaded") for name in missing + spare]

    async def load(self, name: str, parameters: Collection[str] = ()) -> None:
        """Registers the model's archives and waits until it is ready; nothing happens where it is registered.

        Args:
            parameters: names of what the client asks beside; none is honoured.

        Raises:
            InvalidRequest: the name is none of a file in the store, or there are parameters.
            NotFound: there is no such archive.
            Forbidden: TorchServe has model control off.
            Unavailable: it is registered and does not become ready.
        """
        _check_name(name)
        _refuse(parameters)
        if not self._registered(name):
            plan = await asyncio.get_running_loop().run_in_executor(None, self._plan, name)
            for url, parameters in plan.items():
                await _allowed(self._control.register(url, **parameters))
        await self._until(lambda: self._ready(name, None), f"model {name} is registered and not ready yet")

    async def unload(self, name: str) -> None:
        """Unregisters all versions of a model. Raises NotFound, and as ``load``."""
        _check_name(name)
        if not self._registered(name):
            raise NotFound(f"model {name} is not loaded")
        default = self._served.default_version(name)
        # TorchServe keeps the default version until it is the last.
        for version in sorted(self._served.versions(name), key=lambda each: each == default):
            await _allowed(self._control.unregister(name, version))
        await self._until(lambda: not self._registered(name), f"model {name} is still being unloaded")

    def _entries(self, name: str) -> List[Dict[str, str]]:
        entries = []
        for version in self._versions(name) or [""]:
            if self._ready(name, version or None):
                entries.append(_entry(name, version, "READY", ""))
            else:
                entries.append(_entry(name, version, "UNAVAILABLE", self._served.reason(name, version or None)))
        return entries

    def _registered(self, name: str) -> bool:
        return bool(self._versions(name))

    def _versions(self, name: str) -> List[str]:
        try:
            return self._served.versions(name)
        except NotFound:
            return []

    def _ready(self, name: str, version: Optional[str]) -> bool:
        try:
            return self._served.model_ready(name, version)
        except NotFound:
            return False

    def _plan(self, name: str) -> Dict[str, Dict[str, Any]]:
        """What to register: archive and parameters."""
        snapshot = self._config.models.get(name)
        if snapshot:
            # A model without workers is of no use to whoever loads it.
            return {model.mar_name: _parameters(name, model) for model in snapshot.values()}
        archive = name + _SUFFIX
        store = self._config.model_store
        if store is not None and store.is_dir() and not (store / archive).is_file():
            raise NotFound(f"the model store has no {archive}")
        return {archive: {"model_name": name, "initial_workers": 1, "synchronous": True}}

    def _archives(self) -> List[str]:
        store: Optional[Path] = self._config.model_store
        if store is None or not store.is_dir():
            return []
        return sorted(path.stem for path in store.glob(f"*{_SUFFIX}") if _NAME.match(path.stem))

    async def _until(self, done: Callable[[], bool], complaint: str) -> None:
        """Waits until the follower of TorchServe has seen a change."""
        end = time.monotonic() + _PATIENCE
        while not done():
            if time.monotonic() > end:
                raise Unavailable(complaint, retry_after=5)
            await asyncio.sleep(_LOOK)


async def _allowed(change: Awaitable[None]) -> None:
    """Has TorchServe change something. Its 405 is no fault of our client's method."""
    try:
        await change
    except MethodNotAllowed as error:
        raise Forbidden(error.message) from None


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        raise InvalidRequest(f"{name!r} is no model name: letters, digits, _, . and - are, and no dot or dash in front")


def _refuse(parameters: Collection[str]) -> None:
    """Refuses what Triton's clients may ask of a load: a model of their own, or its configuration."""
    for name in sorted(parameters):
        if name.startswith("file:"):
            mend = "a model comes from the model store; put its archive there"
        elif name == "config":
            mend = "a model has its archive's and the snapshot's settings; change those"
        else:
            mend = "leave it out"
        raise InvalidRequest(f"parameter {name!r} of a load is not supported: {mend}")


def _entry(name: str, version: str, state: str, reason: str) -> Dict[str, str]:
    return {"name": name, "version": version, "state": state, "reason": reason}


def _parameters(name: str, model: SnapshotModel) -> Dict[str, Any]:
    return {
        "model_name": name,
        "initial_workers": max(1, model.min_workers),
        "synchronous": True,
        "batch_size": model.batch_size,
        "max_batch_delay": model.max_batch_delay,
        "response_timeout": model.response_timeout,
    }
