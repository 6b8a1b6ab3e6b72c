"""Model repository calls (OIP's extension) as TorchServe's management calls."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Optional

from kserve_wrapper.errors import InvalidRequest, NotFound
from kserve_wrapper.torchserve.config import TorchServeConfig
from kserve_wrapper.torchserve.management import Management
from kserve_wrapper.torchserve.readiness import Readiness

#: What torch-model-archiver and TorchServe accept as a model's name, without a leading dot: it becomes a file name.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}", re.ASCII)
_PARAMETERS = ("initial_workers", "batch_size", "max_batch_delay", "response_timeout")


class Repository:
    """The archives of the model store: which are there, loading and unloading them.

    Args:
        management: TorchServe's; it refuses where model control is off.
        readiness: states for the index.
    """

    def __init__(self, management: Management, config: TorchServeConfig, readiness: Readiness) -> None:
        self._management = management
        self._config = config
        self._readiness = readiness

    async def load(self, name: str, parameters: Optional[Mapping[str, Any]] = None) -> None:
        """Loads the archive that the snapshot has for a model, or NAME.mar; one that is loaded already is left alone.

        Args:
            parameters: ``initial_workers`` (default: the snapshot's minWorkers, or 1), ``batch_size``,
                ``max_batch_delay`` (milliseconds), ``response_timeout`` (seconds).

        Raises:
            InvalidRequest: a name that is no file of the store, or a parameter that is not a whole number.
            NotFound: the store has no such archive.
            MethodNotAllowed: model control is off.
        """
        check_name(name)
        snapshot = next(iter(self._config.models.get(name, {}).values()), None)
        archive = snapshot.mar_name if snapshot else f"{name}.mar"
        if name in await self._management.models():
            return
        settings: Dict[str, object] = {"initial_workers": snapshot.min_workers if snapshot else 1}
        settings.update(_numbers(parameters or {}))
        if not self._has(archive):
            raise NotFound(f"the model store has no archive {archive}")
        await self._management.register(archive, {"model_name": name, "synchronous": True, **settings})

    async def unload(self, name: str) -> None:
        """Unloads all versions of a model. Raises NotFound, and MethodNotAllowed where model control is off."""
        check_name(name)
        default = (await self._management.describe(name))[0].version
        # TorchServe refuses to remove the default version while there are others.
        for description in await self._management.describe(name, "all"):
            if description.version != default:
                await self._management.unregister(name, description.version)
        await self._management.unregister(name, default)

    async def index(self) -> List[Dict[str, str]]:
        """One entry a model and version: ``name``, ``version`` and ``reason`` ("" if none), ``state``."""
        readiness = self._readiness
        entries: List[Dict[str, str]] = []
        for name in readiness.models():
            for version in readiness.versions(name):
                ready = readiness.model_ready(name, version)
                entries.append(_entry(name, version, ready, "" if ready else "no worker is ready"))
            if not readiness.versions(name):
                entries.append(_entry(name, "", False, "not loaded"))
        known = set(readiness.models())
        return entries + [_entry(name, "", False, "not loaded") for name in self._archives() if name not in known]

    def _archives(self) -> List[str]:
        store = self._config.model_store
        if store is None or not store.is_dir():
            return []
        used = {m.mar_name for versions in self._config.models.values() for m in versions.values()}
        return sorted(path.stem for path in store.glob("*.mar") if path.name not in used)

    def _has(self, archive: str) -> bool:
        store = self._config.model_store
        # The wrapper may run in another container than TorchServe: what it cannot see, TorchServe judges.
        return store is None or not store.is_dir() or (store / archive).exists()


def check_name(name: str) -> None:
    """Raises InvalidRequest for a name that could leave the model store, or that no archive has."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest("a model's name has letters, digits, '_', '-' and '.', and begins with none of the last")


def _numbers(parameters: Mapping[str, Any]) -> Dict[str, int]:
    found: Dict[str, int] = {}
    for key in _PARAMETERS:
        if key in parameters:
            text = str(parameters[key])
            if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
                raise InvalidRequest(f"parameter {key} must be a whole number, 0 or more")
            found[key] = int(text)
    return found


def _entry(name: str, version: str, ready: bool, reason: str) -> Dict[str, str]:
    return {"name": name, "version": version, "state": "READY" if ready else "UNAVAILABLE", "reason": reason}
