"""What is known of one served model: its versions, their workers, and whether one has answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, FrozenSet, List, Optional, Tuple

from kserve_wrapper.errors import NotFound
from kserve_wrapper.torchserve.management import Description
from kserve_wrapper.types import ModelMetadata

Worker = Tuple[str, int]


@dataclass
class Version:
    """One version of a model. Times are of the monotonic clock."""

    ready: FrozenSet[Worker] = frozenset()
    min_workers: int = 0
    #: A worker has answered a question of ours since the model was registered.
    answered: bool = False
    metadata: Optional[ModelMetadata] = None
    #: The workers that the metadata came from; others altogether are asked anew.
    asked: FrozenSet[Worker] = frozenset()
    tries: int = 0
    next_try: float = 0.0
    asking: bool = False
    #: Since when a version that was ready has had no worker; None while it has, or needs none.
    idle_since: Optional[float] = None

    def update(self, description: Description, now: float) -> None:
        """Takes over what TorchServe says at ``now``."""
        self.min_workers = description.min_workers
        self.ready = frozenset(description.ready)
        if self.ready or not self.min_workers:
            self.idle_since = None
        elif self.idle_since is None and self.answered:
            self.idle_since = now

    def must_ask(self, now: float, max_tries: int) -> bool:
        """Whether to ask a worker for the metadata: once for each generation of workers, again if that failed."""
        if not self.ready or self.asking:
            return False
        if self.asked & self.ready and self.answered:
            return False
        if not self.asked & self.ready and self.asked:
            self.tries, self.asked = 0, frozenset()
        return now >= self.next_try and (self.tries < max_tries or not self.answered)

    @property
    def is_ready(self) -> bool:
        return self.answered and bool(self.ready)


@dataclass
class Model:
    """One model and its versions as TorchServe has them registered."""

    name: str
    versions: Dict[str, Version] = field(default_factory=dict)
    default: Optional[str] = None
    #: TorchServe has listed it; a model of the snapshot is known before that.
    registered: bool = False
    #: It was registered and is no longer: somebody unloaded it.
    unloaded: bool = False

    def version(self, version: Optional[str]) -> Version:
        """Raises NotFound for a version that is not registered."""
        wanted = self.default if version is None else version
        found = self.versions.get(wanted) if wanted is not None else None
        if found is not None:
            return found
        if version is None or not self.registered:
            return Version()
        raise NotFound(f"model {self.name} has no version {version}; it has {', '.join(self.versions) or 'none'}")

    def update(self, descriptions: List[Description], default: str, now: float) -> None:
        """Takes over what TorchServe says of all versions."""
        self.registered, self.unloaded, self.default = True, False, default
        for description in descriptions:
            self.versions.setdefault(description.version, Version()).update(description, now)
        for gone in set(self.versions) - {d.version for d in descriptions}:
            del self.versions[gone]

    def drop(self) -> None:
        """TorchServe no longer lists it."""
        self.unloaded = self.unloaded or self.registered
        self.registered, self.default = False, None
        self.versions.clear()

    @property
    def settled(self) -> bool:
        """Nothing to wait for: ready, unloaded on purpose, or registered to run without workers."""
        if self.unloaded:
            return True
        return self.registered and all(v.is_ready or not v.min_workers for v in self.versions.values())
