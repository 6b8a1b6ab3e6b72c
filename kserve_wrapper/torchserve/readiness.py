"""Which models are ready, followed from TorchServe's management address.

A version is ready when TorchServe reports a worker with the model loaded and, since the model was registered, a worker
has answered a question: the one for its metadata, which a handler that surely has none is spared. One task asks every
``poll_interval``; everything else reads what it found, so nothing here ever waits on a client's behalf.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Dict, List, Optional, Set

from kserve_wrapper.core import tasks
from kserve_wrapper.core.calls import ModelCapacity, ModelMetadata
from kserve_wrapper.core.clocks import RunningClock
from kserve_wrapper.core.errors import BadGateway, DeadlineExceeded, InternalError, NotFound, WrapperError
from kserve_wrapper.torchserve.config import TorchServeConfig
from kserve_wrapper.torchserve.describing import may_describe
from kserve_wrapper.torchserve.load_log import LoadLog
from kserve_wrapper.torchserve.management import Description, Management
from kserve_wrapper.torchserve.metadata import to_metadata
from kserve_wrapper.torchserve.restoring import Restoring
from kserve_wrapper.torchserve.served import Model, Version

logger = logging.getLogger(__name__)

#: Polls between two listings of all models; the models known are looked at in every poll.
_LIST_EVERY = 3
#: Whole polls after which this process must have stood still.
_STILL = 2.0
#: Seconds for one question; a look is ended sooner, by ``poll_timeout``.
_LOOK_LIMIT = 60.0


@dataclass(frozen=True)
class Settings:
    """All times are seconds.

    ``poll_interval`` + ``poll_timeout`` bounds how long a hung TorchServe passes for ready; the sum stays under 2.
    Time in which this process stood still does not count.
    ``start_limit`` is how long TorchServe may take to answer at all and each model of the snapshot to become ready for
    the first time, ``gone_limit`` how long it may be gone after
    that, and ``worker_limit`` how long a model that was ready may be without any worker, before ``live`` is false.
    ``load_*`` are the stock wrapper's MODEL_LOAD_*: whether a model without customized metadata never counts as ready,
    how often a worker is asked for it, how long after a failed try, and how long one try may take.
    """

    poll_interval: float = 0.4
    poll_timeout: float = 1.3
    start_limit: float = 600.0
    gone_limit: float = 60.0
    worker_limit: float = 300.0
    load_customized: bool = False
    load_max_try: int = 10
    load_delay: float = 1.0
    load_timeout: float = 5.0


class Readiness:
    """What TorchServe serves. Construct anywhere; ``run`` belongs into the event loop that also reads.

    Args:
        management: where to ask.
        config: its snapshot names models that are known before TorchServe answers.
        loads: tells why a model does not load.
    """

    def __init__(
        self,
        management: Management,
        config: TorchServeConfig,
        settings: Optional[Settings] = None,
        loads: Optional[LoadLog] = None,
    ) -> None:
        self._management = management
        self._settings = settings or Settings()
        self._models: Dict[str, Model] = {name: Model(name) for name in config.models}
        self._loads = loads or LoadLog(None)
        self._restoring = Restoring(list(config.models), self._loads)
        self._store = config.model_store
        self._configured = frozenset(config.models)
        #: Of the snapshot, and not ready once yet.
        self._awaited = set(config.models)
        self._reachable = False
        self._listed = False
        self._clock = RunningClock(_STILL * (self._settings.poll_interval + self._settings.poll_timeout))
        self._seen = self._started = self._clock()
        self._ever_seen = False
        self._last_answer = 0.0
        self._death_logged = False
        self._wake: Optional[asyncio.Event] = None
        self._tasks: Set[asyncio.Task[None]] = set()
        #: Why TorchServe counts as gone, for logs and readiness answers; None while it is there.
        self.problem: Optional[str] = "TorchServe has not answered yet"

    # -- what fronts ask ------------------------------------------------------------------------------------------

    def live(self) -> bool:
        """The process is worth keeping: TorchServe is there, or has not been gone for long."""
        return self.dead() is None

    def dead(self) -> Optional[str]:
        """Why ``live`` is false, or None."""
        now, settings = self._clock(), self._settings
        limit = settings.gone_limit if self._ever_seen else settings.start_limit
        if now - self._seen > limit:
            return f"TorchServe has not answered for {limit:g} s ({self.problem})"
        if self._awaited and now - self._started > settings.start_limit:
            name = min(self._awaited)
            return f"model {name} has not become ready within {settings.start_limit:g} s: {self._reason_now(name)}"
        for model in self._models.values():
            for number, version in model.versions.items():
                if version.idle_since is not None and now - version.idle_since > settings.worker_limit:
                    return f"model {model.name} {number} has had no worker for {settings.worker_limit:g} s"
        return None

    def ready(self) -> bool:
        """TorchServe answers and every model that should have workers is ready."""
        return self._reachable and self._listed and all(model.settled for model in self._models.values())

    def models(self) -> List[str]:
        """Names, sorted: those registered, and of the snapshot those still to come."""
        return sorted(self._models)

    def model_ready(self, name: str, version: Optional[str] = None) -> bool:
        """Raises NotFound for a model or version that is not served."""
        found = self._find(name)
        return self._reachable and found is not None and found.version(version).is_ready

    def reason(self, name: str, version: Optional[str] = None) -> str:
        """Why a model is not ready, for clients; an empty text where it is. Raises NotFound."""
        found = self._find(name)
        if not self._reachable:
            return "the model server does not answer"
        if found is None or not found.versions:
            return self._restoring.reason(name, self._models)
        return found.version(version).reason(self._clock())

    def _reason_now(self, name: str) -> str:
        """``reason`` of the first version that is not ready."""
        reasons = [version.reason(self._clock()) for version in self._models[name].versions.values()]
        return next(filter(None, reasons), self._restoring.reason(name, self._models))

    def archives(self) -> Set[str]:
        """File names that the registered models were loaded from."""
        return {version.url for model in self._models.values() for version in model.versions.values()}

    def workers(self, name: str, version: Optional[str] = None) -> int:
        """Workers that can answer now; none of what is not served."""
        model = self._models.get(name)
        found = model.find(version) if model is not None and self._reachable else None
        return len(found.ready) if found is not None else 0

    def capacity(self, name: str, version: Optional[str] = None) -> ModelCapacity:
        """What TorchServe takes of this version at a time; nothing of what is not served."""
        model = self._models.get(name)
        found = model.find(version) if model is not None else None
        if found is None:
            return ModelCapacity()
        workers = self.workers(name, version)
        return ModelCapacity(workers, found.batch_size, found.queue_capacity, found.use_job_ticket)

    def versions(self, name: str) -> List[str]:
        """Registered versions, sorted. Raises NotFound."""
        found = self._find(name)
        return sorted(found.versions) if found is not None else []

    def default_version(self, name: str) -> Optional[str]:
        """The version that serves a request without one; None before TorchServe says it. Raises NotFound."""
        found = self._find(name)
        return found.default if found is not None else None

    def metadata(self, name: str, version: Optional[str] = None) -> ModelMetadata:
        """What the handler says of itself, or the name and versions alone. Raises NotFound."""
        found = self._find(name)
        metadata = found.version(version).metadata if found is not None else None
        return metadata or to_metadata(name, self.versions(name), None)

    def described(self, name: str, version: Optional[str] = None) -> bool:
        """A worker has been asked for the metadata, be it that it had none. Raises NotFound."""
        found = self._find(name)
        return found is not None and found.version(version).metadata is not None

    def report_unreachable(self) -> None:
        """The data path could not reach TorchServe: not ready until a poll, which follows at once, says otherwise."""
        self._lost("a request could not reach it")
        if self._wake is not None:
            self._wake.set()

    def report_answered(self) -> None:
        """The data path has just had an answer: a slow poll alone does not make TorchServe gone."""
        self._last_answer = self._clock()

    def _find(self, name: str) -> Optional[Model]:
        found = self._models.get(name)
        # Until TorchServe has listed its models, one more may well be among them.
        if found is None and self._listed:
            raise NotFound(f"model {name} is not served here")
        return found

    # -- following TorchServe -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follows TorchServe until cancelled."""
        self._wake = asyncio.Event()
        polls = 0
        try:
            while True:
                self._wake.clear()
                await self._poll(listing=polls % _LIST_EVERY == 0 or not self._reachable)
                polls += 1
                self._tell_death()
                await self._pause(self._wake)
        finally:
            for task in self._tasks:
                task.cancel()

    def _tell_death(self) -> None:
        reason = self.dead()
        if reason is not None and not self._death_logged:
            logger.error("not live any more: %s", reason)
        self._death_logged = reason is not None

    async def _pause(self, wake: asyncio.Event) -> None:
        try:
            await asyncio.wait_for(wake.wait(), self._settings.poll_interval)
        except asyncio.TimeoutError:
            return

    async def _poll(self, listing: bool) -> None:
        try:
            await self._look_again(listing)
            self._found()
        except (asyncio.TimeoutError, DeadlineExceeded):
            if self._clock() - self._last_answer > self._settings.poll_timeout:
                self._lost("it does not answer in time")
        except WrapperError as error:
            self._lost(error.message)
        except Exception:
            # The task must outlive whatever TorchServe answers; readiness would freeze otherwise.
            logger.exception("following TorchServe failed")
            self._lost("its answer could not be understood")

    async def _look_again(self, listing: bool) -> None:
        """A second look beside the first after half of the time: that may have been the machine that stood still."""
        looks: List[asyncio.Task[None]] = []
        try:
            for _ in range(2):
                looks.append(asyncio.ensure_future(self._look(listing)))
                ended = await tasks.first_ended(looks, self._settings.poll_timeout / 2)
                if ended:
                    return ended.pop().result()
            raise asyncio.TimeoutError
        finally:
            await tasks.end([look for look in looks if not look.done()])

    async def _look(self, listing: bool) -> None:
        await self._renew_keys()
        if listing:
            self._list(await self._management.models(_LOOK_LIMIT))
        await asyncio.gather(*[self._look_at(model) for model in list(self._models.values()) if model.registered])

    def _list(self, names: List[str]) -> None:
        for name in names:
            self._models.setdefault(name, Model(name)).registered = True
        for name in set(self._models) - set(names):
            self._drop(self._models[name])
        self._listed = True
        self._restoring.tell(self._models)

    def _drop(self, model: Model) -> None:
        """TorchServe does not list it: it was unloaded, or it is of the snapshot and still to come."""
        if model.registered:
            logger.info("model %r is no longer registered", model.name)
        if model.versions or model.name not in self._configured:
            self._awaited.discard(model.name)
            self._models.pop(model.name, None)
        else:
            model.registered = False

    async def _look_at(self, model: Model) -> None:
        try:
            found = await self._management.describe(model.name, "all", timeout=_LOOK_LIMIT)
            default = found[0].version if found else ""
            if len(found) > 1:
                default = (await self._management.describe(model.name, timeout=_LOOK_LIMIT))[0].version
        except NotFound:
            self._drop(model)
            return
        self._take(model, found, default)

    def _take(self, model: Model, found: List[Description], default: str) -> None:
        before = {number: version.is_ready for number, version in model.versions.items()}
        now = self._clock()
        model.update(found, default, now)
        if model.settled:
            self._awaited.discard(model.name)
        for number, version in model.versions.items():
            if before.get(number) and not version.is_ready:
                logger.warning("model %r %s has no worker that is ready", model.name, number)
            elif before.get(number) is False and version.is_ready:
                logger.info("model %r %s is ready, %d workers", model.name, number, len(version.ready))
            self._tell_fault(model, number, version, now)
            if version.must_ask(now, self._settings.load_max_try):
                self._start(model, number, version)

    def _tell_fault(self, model: Model, number: str, version: Version, now: float) -> None:
        """Logs why a version does not load, each cause once, or that it takes long."""
        if version.loading_since is None and not version.unborn:
            return
        version.cause = self._loads.cause(model.name, number)
        version.progress = self._loads.progress(model.name, number)
        fault = version.fault
        # A cause that is known in the end is worth a line more.
        if fault is not None and (
            version.logged_fault is None or (version.cause is not None and fault != version.logged_fault)
        ):
            logger.error("model %r %s: %s", model.name, number, fault)
            version.logged_fault = fault
        elif fault is None and version.is_slow(now) and not version.logged_slow:
            logger.warning("model %r %s: %s", model.name, number, version.loading(now))
            version.logged_slow = True

    async def _renew_keys(self) -> None:
        """Replaces keys before they expire; the other wrapper processes read the file that results."""
        keys = self._management.keys
        keys.refresh()
        if not keys.expiring():
            return
        with keys.lock() as mine:
            if mine:
                keys.refresh(force=True)
                for purpose in keys.expiring():
                    await self._management.renew(purpose)
                    logger.info("renewed TorchServe's %s key", purpose)

    def _found(self) -> None:
        self._seen, self._ever_seen = self._clock(), True
        if not self._reachable:
            logger.info("TorchServe answers at %s", self._management.address)
        self._reachable, self.problem = True, None

    def _lost(self, reason: str) -> None:
        if self._reachable or reason != self.problem:
            logger.warning("TorchServe at %s: %s", self._management.address, reason)
        self._reachable, self.problem = False, reason

    # -- asking a worker ------------------------------------------------------------------------------------------

    def _start(self, model: Model, number: str, version: Version) -> None:
        version.asking = True
        task = asyncio.create_task(self._ask(model, number, version))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, model: Model, number: str, version: Version) -> None:
        """One question to a worker, which takes its turn with the requests that wait for it."""
        settings, workers = self._settings, version.ready
        version.tries += 1
        try:
            description = await self._description(model, number, version)
        except (BadGateway, InternalError):
            # The handler failed at a question that it may not know; but the worker did answer.
            description = None
        except (WrapperError, ValueError) as error:
            logger.info("model %r %s has not answered yet: %s", model.name, number, error)
            self._failed(model, number, version)
            return
        finally:
            version.asking = False
        customized = description.customized if description else None
        if customized is None and settings.load_customized:
            self._failed(model, number, version)
            return
        version.metadata = to_metadata(model.name, sorted(model.versions), customized)
        if not version.answered:
            logger.info("model %r %s has answered; it is ready", model.name, number)
        version.answered, version.asked, version.tries = True, workers, 0
        if model.settled:
            self._awaited.discard(model.name)

    async def _description(self, model: Model, number: str, version: Version) -> Optional[Description]:
        """What a worker answers; None, unasked, where its handler surely has no description."""
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(None, may_describe, self._store, version.url):
            return None
        [description] = await self._management.describe(model.name, number, True, self._settings.load_timeout)
        return description

    def _failed(self, model: Model, number: str, version: Version) -> None:
        version.next_try = self._clock() + self._settings.load_delay
        if version.tries == self._settings.load_max_try:
            logger.error("model %r %s did not answer in %d tries", model.name, number, version.tries)
