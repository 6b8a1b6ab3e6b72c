"""Models of the snapshot that TorchServe has not registered: it restores none after one that it cannot take."""

from __future__ import annotations

import logging
from typing import Mapping, Optional, Sequence, Set

from kserve_wrapper.torchserve.load_log import LoadLog, uninstalled
from kserve_wrapper.torchserve.served import Model

logger = logging.getLogger(__name__)


class Restoring:
    """Why a model of the snapshot is not registered.

    Args:
        names: the models of the snapshot, in its order, which is the one that TorchServe restores them in.
        loads: what TorchServe said of that.
    """

    def __init__(self, names: Sequence[str], loads: LoadLog) -> None:
        self._names = list(names)
        self._loads = loads
        self._logged: Set[str] = set()

    def reason(self, name: str, models: Mapping[str, Model]) -> str:
        """For clients.

        Args:
            name: a model that is not registered.
            models: those that are known.
        """
        return self._known(name, models) or "it is not registered yet"

    def tell(self, models: Mapping[str, Model]) -> None:
        """Logs of each model once that it will not be registered, as soon as TorchServe has listed those that are."""
        for name in self._names:
            model = models.get(name)
            if model is None or model.registered or name in self._logged:
                continue
            known = self._known(name, models)
            if known is not None:
                logger.error("model %r: %s", name, known)
                self._logged.add(name)

    def _known(self, name: str, models: Mapping[str, Model]) -> Optional[str]:
        said = self._loads.stopped()
        if said is None:
            return None
        without = uninstalled(said)
        culprit = without or next((n for n in self._names if n in models and not models[n].registered), name)
        why = f": {said.rstrip('.')}. Mend the archive"
        if without is not None:
            why = f", whose packages could not be installed: {self._loads.cause(without, '') or said.rstrip('.')}"
        if culprit == name:
            return f"it does not load{why}"
        return f"it is not registered: TorchServe stopped restoring at model {culprit}{why}, or remove it"
