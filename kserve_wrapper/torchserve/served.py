"""What is known of one served model: its versions, their workers, and whether one has answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, FrozenSet, List, Mapping, Optional, Tuple

from kserve_wrapper.core.calls import ModelMetadata
from kserve_wrapper.core.errors import NotFound
from kserve_wrapper.torchserve.management import Description

Worker = Tuple[str, int]

#: Seconds without a worker that has loaded the model, after which that is logged.
LOAD_PATIENCE = 20.0
#: Restarts without such a worker from which on it is no accident: after one that served, the first is its own end.
_RESTARTS = 2


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
    #: Since when a version that needs workers has had none that is ready; None while it has.
    loading_since: Optional[float] = None
    #: Processes that were replaced since then, and the present ones by worker.
    restarts: int = 0
    processes: Dict[str, int] = field(default_factory=dict)
    #: The archive that it was registered from.
    url: str = ""
    #: Requests that TorchServe puts into one batch, and that its job queue holds; None where it does not tell.
    batch_size: Optional[int] = None
    queue_capacity: Optional[int] = None
    use_job_ticket: bool = False
    #: Its last load error, where that is known.
    cause: Optional[str] = None
    #: What its worker says that it is at, while it loads.
    progress: Optional[str] = None
    #: What of it has been logged, and that it takes long.
    logged_fault: Optional[str] = None
    logged_slow: bool = False

    def update(self, description: Description, now: float) -> None:
        """Takes over what TorchServe says at ``now``."""
        self.min_workers = description.min_workers
        self.ready = frozenset(description.ready)
        self.url = description.url
        self.batch_size, self.queue_capacity = description.batch_size, description.queue_capacity
        self.use_job_ticket = description.use_job_ticket
        self._follow_load(description.processes, now)
        if self.ready or not self.min_workers:
            self.idle_since = None
        elif self.idle_since is None and self.answered:
            self.idle_since = now

    def _follow_load(self, processes: Mapping[str, int], now: float) -> None:
        if self.ready or not self.min_workers:
            self.loading_since, self.restarts, self.processes = None, 0, {}
            self.progress, self.logged_slow = None, False
            if not self.unborn:
                self.cause, self.logged_fault = None, None
            return
        self.loading_since = now if self.loading_since is None else self.loading_since
        self.restarts += sum(self.processes.get(worker, process) != process for worker, process in processes.items())
        self.processes.update(processes)

    @property
    def unborn(self) -> bool:
        """It has had no worker yet, and TorchServe wants none: so it is where pip failed, too."""
        return not (self.ready or self.min_workers or self.answered)

    @property
    def fault(self) -> Optional[str]:
        """Why it does not load; None where nothing says that it would not."""
        if self.cause is not None:
            return f"it does not load: {self.cause}"
        if self.loading_since is not None and self.restarts >= _RESTARTS:
            return (
                f"its worker fails to load again and again, {self.restarts} times so far; TorchServe's log has the "
                "cause, which the wrapper sees where the supervisor starts both"
            )
        return None

    def loading(self, now: float) -> str:
        """What it is at while it loads."""
        if self.progress is not None:
            return f"its worker is loading: {self.progress}"
        since = now if self.loading_since is None else self.loading_since
        return f"its worker is loading, {now - since:.0f} s so far"

    def is_slow(self, now: float) -> bool:
        """Whether loading takes so long that it is worth a line."""
        return self.loading_since is not None and now - self.loading_since > LOAD_PATIENCE

    def reason(self, now: float) -> str:
        """Why it is not ready; an empty text where it is."""
        if self.is_ready:
            return ""
        if self.ready:
            return "its worker has not answered yet"
        return self.fault or (self.loading(now) if self.min_workers else "it has no worker")

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

    def version(self, version: Optional[str]) -> Version:
        """Raises NotFound for a version that is not registered."""
        found = self.find(version)
        if found is not None:
            return found
        if version is None or not self.registered:
            return Version()
        raise NotFound(f"model {self.name} has no version {version}; it has {', '.join(self.versions) or 'none'}")

    def find(self, version: Optional[str]) -> Optional[Version]:
        """A version that TorchServe has described; None for the default one."""
        wanted = self.default if version is None else version
        return self.versions.get(wanted) if wanted is not None else None

    def update(self, descriptions: List[Description], default: str, now: float) -> None:
        """Takes over what TorchServe says of all versions."""
        self.registered, self.default = True, default
        for description in descriptions:
            self.versions.setdefault(description.version, Version()).update(description, now)
        for gone in set(self.versions) - {d.version for d in descriptions}:
            del self.versions[gone]

    @property
    def settled(self) -> bool:
        """Nothing to wait for: ready, or registered to run without workers."""
        return self.registered and all(v.is_ready or not v.min_workers for v in self.versions.values())
