"""Requests of many clients, few upstream requests: who waits, who shares, who goes when.

An idle model is sent its request at once. While all slots of a model are taken, requests collect, and when a slot
frees the oldest goes, with those behind it that may share its batch; several workers get equal parts. One batch goes
ahead of that, to be there when a worker wants it: as soon as as many rows wait as the batches under way have. There is
no delay to tune.

Where more come than the model can answer, the pace of its latest batches tells who would have an answer too late: they
are refused when they come, or in favour of those behind them. A batch whose requests have all expired keeps its slot
until its answer comes: the worker is at it still.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from functools import partial
from typing import Callable, Dict, List, Optional, Set, Tuple

from kserve_wrapper.batching.dispatch import Delivery, Observer, Send
from kserve_wrapper.batching.limits import CoalescerLimits
from kserve_wrapper.batching.outbox import Deliver, Outbox, Outcome
from kserve_wrapper.batching.queue import Lane, Waiter
from kserve_wrapper.batching.rows import Portion, prepare
from kserve_wrapper.core import tasks
from kserve_wrapper.core.calls import Call, ModelMetadata, Reply
from kserve_wrapper.core.errors import DeadlineExceeded, QueueFull, Unavailable
from kserve_wrapper.core.timers import Expiry

logger = logging.getLogger(__name__)

#: Of the time until a request's deadline, what the line may take that it is the end of. If it were all, half of the
#: answers would come just too late while the model is overloaded.
_IN_TIME = 0.8


class Coalescer:
    """One per process, for all models; made and used within one event loop.

    Args:
        send: sends one call upstream until a deadline; raises WrapperError.
        limits: see there.
        slots: ready workers of a model (and version); 1 is assumed for less.
        metadata: of the handler of a model (and version); raises NotFound for one that is not known.
        default_version: the version that answers calls without one; None while that is unknown.
        clock: monotonic seconds; deadlines are on it.
        observer: told of what happens.
        answer_came: called with each answer from upstream, before it is dealt with, with the model's batches under way
            (that one among them) and its workers.
        took: told how many seconds each request took from its admission to its outcome.
    """

    def __init__(
        self,
        send: Send,
        limits: CoalescerLimits,
        slots: Callable[[str, Optional[str]], int],
        metadata: Callable[[str, Optional[str]], ModelMetadata],
        default_version: Callable[[str], Optional[str]] = lambda model: None,
        clock: Callable[[], float] = time.monotonic,
        observer: Optional[Observer] = None,
        answer_came: Callable[[int, int], None] = lambda in_flight, workers: None,
        took: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._limits = limits
        self._ahead = limits.ahead and limits.enabled
        self._slots = slots
        self._metadata = metadata
        self._default_version = default_version
        self._clock = clock
        self._observer = observer or Observer()
        self._answer_came = answer_came
        self._took = took
        self._outbox: Outbox[Waiter] = Outbox(self._loop, self._hand_over)
        self._lanes: Dict[Tuple[str, Optional[str]], Lane] = {}
        self._arrivals = itertools.count()
        self._tasks: Set[asyncio.Task[None]] = set()
        self._expiry: Expiry[Waiter] = Expiry(self._loop, clock, self._expire)
        self._closing = False
        self._open = tasks.UnderWay()
        self.queued_requests = 0
        self.queued_rows = 0
        self.queued_bytes = 0

    @property
    def open_requests(self) -> int:
        """Taken in, and their outcome not delivered."""
        return self._open.count

    @property
    def in_flight(self) -> int:
        """Upstream requests on their way, narrowing included."""
        return len(self._tasks)

    def begin(self, call: Call, deadline: float, deliver: Deliver) -> Callable[[], None]:
        """Takes a validated call in; its outcome is delivered later, unless it is cancelled before.

        An outcome that is an error is DeadlineExceeded (the deadline passed, waiting or in flight), Unavailable (given
        up for others, or shut down), or whatever WrapperError the model or the model server made of this very call.

        Returns:
            What cancels it; that does nothing once the outcome is delivered.

        Raises:
            DeadlineExceeded: the deadline has passed.
            Unavailable: the queue is full, the answer would come too late, or the server is shutting down.
        """
        now = self._clock()
        if self._closing:
            raise Unavailable("the server is shutting down", self._limits.retry_after)
        if deadline <= now:
            raise DeadlineExceeded("the request's deadline had passed before it was sent")
        metadata = self._metadata(call.model, call.version)
        lane = self._lane(call)
        portion = prepare(call, metadata, self._limits.enabled and lane.may_merge(call, now))
        self._check_room(call, portion)
        self._check_time(lane, call, portion, deadline - now)
        waiter = Waiter(lane, portion, metadata, now, deadline, next(self._arrivals), deliver, self._outbox)
        waiter.watch = self._expiry.add(deadline, waiter)
        self._open.begin()
        lane.rows_waiting += portion.rows
        self.queued_requests += 1
        self.queued_rows += portion.rows
        self.queued_bytes += portion.size
        lane.add(waiter)
        self._pump_soon(lane)
        return partial(self._cancel, waiter)

    async def submit(self, call: Call, deadline: float) -> Reply:
        """``begin``, to be awaited for the reply; raises the outcome that is an error."""
        reply: asyncio.Future[Reply] = self._loop.create_future()
        cancel = self.begin(call, deadline, partial(_settle, reply))
        try:
            return await reply
        finally:
            cancel()
            # The error's traceback holds this frame, and these the error: a circle.
            del cancel, reply

    def check_room(self, model: str, version: Optional[str], size: int) -> None:
        """Says before a request of so many bytes is read whether it would be taken in. Raises Unavailable where not."""
        if self._closing:
            raise Unavailable("the server is shutting down", self._limits.retry_after)
        if not self._has_room(1, size):
            raise QueueFull("too many requests are waiting: try again later", self._limits.retry_after)

    async def idle(self, timeout: float) -> bool:
        """Waits, up to ``timeout`` seconds, until all that was taken in is over; True when it is."""
        return await self._open.wait(timeout)

    async def drain(self, timeout: float) -> bool:
        """Refuses what is new, finishes what is here, and after ``timeout`` seconds fails the rest; True if none."""
        self._closing = True
        finished = await self.idle(timeout)
        for waiter in self._expiry.present():
            waiter.fail(Unavailable("the server is shutting down"))
        # What was just sent is awaited, so that it can be cancelled.
        await asyncio.sleep(0)
        await tasks.end(self._tasks)
        return finished

    def _cancel(self, waiter: Waiter) -> None:
        if not waiter.left:
            waiter.over = True
            self._observer.dropped(waiter.portion.call, "cancelled")
            self._leave(waiter)

    def _hand_over(self, outcomes: List[Tuple[Waiter, Outcome]]) -> None:
        now = self._clock()
        for waiter, outcome in outcomes:
            if waiter.left:
                # Cancelled meanwhile.
                continue
            self._leave(waiter)
            self._took(now - waiter.admitted)
            try:
                waiter.deliver(outcome)
            except Exception:
                logger.exception("nobody took the outcome of a request to model %s", waiter.lane.model)

    def _leave(self, waiter: Waiter) -> None:
        self._leave_queue(waiter)
        self._expiry.remove(waiter.watch)
        waiter.left = True
        self._open.end()

    def _lane(self, call: Call) -> Lane:
        """Of the version that will answer: whoever names the default one shares its workers with whoever does not."""
        key = (call.model, call.version or self._default_version(call.model))
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(*key)
        return lane

    def _check_room(self, call: Call, portion: Portion) -> None:
        if not self._has_room(portion.rows, portion.size):
            self._observer.dropped(call, "full")
            raise QueueFull("too many requests are waiting: try again later", self._limits.retry_after)

    def _has_room(self, rows: int, size: int) -> bool:
        """An empty queue always has."""
        limits = self._limits
        return not self.queued_requests or (
            self.queued_requests < limits.queued_requests
            and self.queued_rows + rows <= limits.queued_rows
            and self.queued_bytes + size <= limits.queued_bytes
        )

    def _check_time(self, lane: Lane, call: Call, portion: Portion, left: float) -> None:
        """Nobody is refused whom nobody is before: so a pace that changed is learned anew."""
        soon = _IN_TIME * left
        if lane.pace.most_seconds <= soon:
            return
        line = lane.line
        if line and lane.pace.seconds(line + portion.rows) > soon:
            raise self._too_late(call)

    def _too_late(self, call: Call) -> QueueFull:
        self._observer.dropped(call, "late")
        cause = "the requests that wait take the model longer than this one's deadline allows: try again later"
        return QueueFull(cause, self._limits.retry_after)

    def _give_up(self, waiter: Waiter) -> None:
        if not waiter.over:
            self._leave_queue(waiter)
            waiter.fail(self._too_late(waiter.portion.call))

    def _leave_queue(self, waiter: Waiter) -> None:
        if waiter.queued:
            waiter.queued = False
            waiter.lane.rows_waiting -= waiter.portion.rows
            self.queued_requests -= 1
            self.queued_rows -= waiter.portion.rows
            self.queued_bytes -= waiter.portion.size

    def _pump_soon(self, lane: Lane) -> None:
        """Requests that the event loop reads in one turn meet in one batch; no time passes in between."""
        if not lane.pump_is_due:
            lane.pump_is_due = True
            self._loop.call_soon(self._pump, lane)

    def _workers(self, lane: Lane) -> int:
        return max(1, self._slots(lane.model, lane.version))

    def _batches(self, lane: Lane) -> int:
        """How many batches share the lane's rows, the next among them; 0 where none may go."""
        limits = self._limits
        workers = self._workers(lane)
        capacity = workers * (limits.in_flight_per_worker if limits.enabled else limits.in_flight_per_worker_alone)
        if lane.in_flight < capacity:
            return max(1, workers // limits.processes)
        if not self._ahead or lane.in_flight > capacity:
            return 0
        fits = limits.processes * (capacity + 1) - workers <= limits.upstream_queue
        return capacity + 1 if fits and lane.has_batch(limits, capacity + 1) else 0

    def _pump(self, lane: Lane) -> None:
        lane.pump_is_due = False
        while True:
            batches = self._batches(lane)
            batch = lane.take(self._limits, self._clock(), batches, self._give_up) if batches else []
            if not batch:
                return
            for waiter in batch:
                self._leave_queue(waiter)
            delivery = Delivery(
                batch,
                lane,
                self._send,
                self._limits,
                self._clock,
                self._observer,
                self._tell_of_answer,
            )
            lane.in_flight += 1
            lane.rows_in_flight += delivery.rows
            delivery.begin()
            task = self._loop.create_task(self._deliver(lane, delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _tell_of_answer(self, lane: Lane) -> None:
        self._answer_came(lane.in_flight, self._workers(lane))

    async def _deliver(self, lane: Lane, delivery: Delivery) -> None:
        try:
            await delivery.run()
        finally:
            lane.in_flight -= 1
            lane.rows_in_flight -= delivery.rows
            self._pump(lane)

    def _expire(self, waiter: Waiter) -> None:
        if not waiter.over:
            self._observer.dropped(waiter.portion.call, "expired")
            self._leave_queue(waiter)
            waiter.fail(DeadlineExceeded("the request's deadline passed before its answer came"))


def _settle(reply: asyncio.Future[Reply], outcome: Outcome) -> None:
    if reply.done():
        # Who awaited it was cancelled in this turn of the event loop, and has not come to cancel the call.
        return
    if isinstance(outcome, Exception):
        reply.set_exception(outcome)
    else:
        reply.set_result(outcome)
