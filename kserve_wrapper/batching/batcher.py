"""Dynamic batching: requests of many clients, few upstream requests. Who waits, who shares, who goes when.

An idle model is sent its request at once. While all slots of a model are taken, requests collect, and when a slot
frees the oldest goes, with those behind it that may share its batch; several workers get equal parts. One batch is
pipelined, to be there when a worker wants it: as soon as as many rows wait as the batches under way have. There is no
delay to tune.

Handlers that do not declare that they answer each row by itself get each request alone, as many at a time as
TorchServe and its workers take.

Where more come than the model can answer, its service time tells who would have an answer too late: they are refused
when they come, or shed in favour of those behind them. A batch whose requests have all expired keeps its slot until
its answer comes: the worker is at it still.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Callable, Dict, Optional, Set, Tuple

from kserve_wrapper.batching.dispatch import Dispatch, Observer, Send
from kserve_wrapper.batching.limits import BatchingLimits
from kserve_wrapper.batching.queue import ModelQueue, PendingRequest, Verb, Waiting
from kserve_wrapper.batching.rows import BatchSlice, answers_by_row, prepare
from kserve_wrapper.batching.slots import as_seen_through, may_pipeline, slots_alone, slots_of_batches
from kserve_wrapper.core import tasks
from kserve_wrapper.core.calls import Call, ModelCapacity, ModelMetadata, Reply
from kserve_wrapper.core.errors import DeadlineExceeded, QueueFull, Unavailable, WrapperError
from kserve_wrapper.core.headers import HeaderPolicy
from kserve_wrapper.core.timers import Expiry

#: Of the time until a request's deadline, what the backlog may take that it is the end of. If it were all, half of
#: the answers would come just too late while the model is overloaded.
_IN_TIME = 0.8


class Batcher:
    """One per process, for all models; made and used within one event loop.

    Args:
        send: sends one call upstream until a deadline; raises WrapperError.
        limits: see there.
        capacity: of a model (and version); one worker is assumed for none.
        metadata: of the handler of a model (and version); raises NotFound for one that is not known.
        default_version: the version that answers calls without one; None while that is unknown.
        headers: which request headers the handlers see.
        clock: monotonic seconds; deadlines are on it.
        observer: is notified of what happens.
        took: called with the seconds that each request took from its admission to its outcome.
    """

    def __init__(
        self,
        send: Send,
        limits: BatchingLimits,
        capacity: Callable[[str, Optional[str]], ModelCapacity],
        metadata: Callable[[str, Optional[str]], ModelMetadata],
        default_version: Callable[[str], Optional[str]] = lambda model: None,
        headers: Optional[HeaderPolicy] = None,
        clock: Callable[[], float] = time.monotonic,
        observer: Optional[Observer] = None,
        took: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._limits = limits
        self._capacity = capacity
        self._metadata = metadata
        self._default_version = default_version
        self._headers = headers or HeaderPolicy()
        self._clock = clock
        self._observer = observer or Observer()
        self._took = took
        self._queues: Dict[Tuple[str, Optional[str]], ModelQueue] = {}
        #: What waits, all models together.
        self.waiting = Waiting()
        self._arrivals = itertools.count()
        self._dispatches: Set[asyncio.Task[None]] = set()
        self._deadlines: Expiry[PendingRequest] = Expiry(self._loop, clock, self._expire)
        self._closing = False
        self._open = tasks.UnderWay()

    @property
    def open_requests(self) -> int:
        """Taken in, and without an outcome."""
        return self._open.count

    @property
    def in_flight(self) -> int:
        """Batches on their way, those that are taken apart included."""
        return len(self._dispatches)

    async def submit(self, call: Call, deadline: float) -> Reply:
        """Brings the reply to a validated call. Cancelling it cancels the call.

        Raises:
            DeadlineExceeded: the deadline passed, before it was sent, waiting or in flight.
            Unavailable: the queue is full, the answer would come too late, or the server is shutting down.
            WrapperError: whatever the model or the model server made of this very call.
        """
        admitted = self._clock()
        request = self._admit(call, deadline, admitted)
        try:
            return await request.outcome
        except asyncio.CancelledError:
            self._observer.dropped(call, "cancelled")
            raise
        except WrapperError:
            self._observer.given_up(request.queue.model, request.queue.version, self._clock() - admitted)
            raise
        finally:
            self._leave(request)
            self._took(self._clock() - admitted)
            # The error's traceback holds this frame, and the request the error: a circle.
            del request

    def check_room(self, model: str, version: Optional[str], size: int) -> None:
        """Whether a request could be taken in now, before its body is read. Raises Unavailable where not.

        Args:
            model: its name.
            version: None for the default one.
            size: bytes of the body.
        """
        if self._closing:
            raise self._shut_down()
        queue = self._queues.get((model, version or self._default_version(model)))
        if queue is not None and not self._has_room(queue, rows=1, size=size):
            raise self._full()

    async def drain(self, timeout: float) -> bool:
        """Refuses what is new, finishes what is here, and after ``timeout`` seconds fails the rest; True if none."""
        self._closing = True
        finished = await self._open.wait(timeout)
        for request in self._deadlines.present():
            request.fail(self._shut_down())
        # What was just sent is awaited, so that it can be cancelled.
        await asyncio.sleep(0)
        await tasks.end(self._dispatches)
        return finished

    # --- admission ---------------------------------------------------------------------------------------------------

    def _admit(self, call: Call, deadline: float, now: float) -> PendingRequest:
        if self._closing:
            raise self._shut_down()
        if deadline <= now:
            raise DeadlineExceeded("the request's deadline had passed before it was sent")
        metadata = self._metadata(call.model, call.version)
        queue = self._queue(call, metadata)
        part = self._prepare(queue, call, metadata, now)
        if not self._has_room(queue, part.rows, part.size):
            self._observer.dropped(call, "full")
            raise self._full()
        if not self._in_time(queue, part, deadline - now):
            raise self._too_late(call)
        outcome: asyncio.Future[Reply] = self._loop.create_future()
        request = PendingRequest(queue, part, metadata, now, deadline, next(self._arrivals), outcome)
        request.watch = self._deadlines.add(deadline, request)
        self._open.begin()
        queue.add(request)
        self._dispatch_soon(queue)
        return request

    def _queue(self, call: Call, metadata: ModelMetadata) -> ModelQueue:
        """Of the version that will answer: whoever names the default one shares its workers with whoever does not."""
        key = (call.model, call.version or self._default_version(call.model))
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = ModelQueue(*key, self.waiting)
        queue.by_row = answers_by_row(call.model, metadata, self._limits.independent_rows)
        queue.foreign = not metadata.extensions
        queue.preferred_rows = metadata.preferred_batch_size
        return queue

    def _prepare(self, queue: ModelQueue, call: Call, metadata: ModelMetadata, now: float) -> BatchSlice:
        sharing = self._limits.enabled and queue.shareable_rows(call, now) != 0
        part = prepare(call, metadata, queue.by_row, sharing)
        if not call.headers:
            return part
        if not queue.by_row:
            part.headers = self._headers.of_a_request_alone(call.headers)
        elif metadata.request_headers:
            part.headers = self._headers.declared(call.headers, metadata.request_headers)
            part.key = None if part.key is None else (part.key, tuple(sorted(part.headers.items())))
        return part

    def _has_room(self, queue: ModelQueue, rows: int, size: int) -> bool:
        """An empty queue always admits, and what fills one batch of each model has a place of its own."""
        limits, own = self._limits, queue.waiting
        if not own.requests:
            return True
        if own.requests >= limits.queued_requests:
            return False
        if own.rows + rows > limits.queued_rows or own.bytes + size > limits.queued_bytes:
            return False
        return self.waiting.bytes + size <= limits.total_queued_bytes or own.bytes + size <= limits.bytes_per_batch

    def _in_time(self, queue: ModelQueue, part: BatchSlice, left: float) -> bool:
        """An empty queue always admits: so a service time that changed is learned anew."""
        soon = _IN_TIME * left
        if queue.most_seconds <= soon or not (queue.waiting.rows or queue.rows_in_flight):
            return True
        return queue.seconds(_backlog, part.call, part.rows) <= soon

    def _full(self) -> QueueFull:
        return QueueFull("too many requests are waiting: try again later", self._limits.retry_after)

    def _too_late(self, call: Call) -> QueueFull:
        self._observer.dropped(call, "late")
        cause = "the requests that wait take the model longer than this one's deadline allows: try again later"
        return QueueFull(cause, self._limits.retry_after)

    @staticmethod
    def _shut_down() -> Unavailable:
        return Unavailable("the server is shutting down", 1.0)

    # --- leaving -----------------------------------------------------------------------------------------------------

    def _leave(self, request: PendingRequest) -> None:
        request.queue.remove(request)
        self._deadlines.remove(request.watch)
        self._open.end()
        if not request.outcome.cancelled() and request.outcome.done():
            # Who was cancelled in the moment of an error leaves it unread, of which asyncio complains.
            request.outcome.exception()

    def _expire(self, request: PendingRequest) -> None:
        if not request.over:
            self._observer.dropped(request.part.call, "expired")
            self._end(request, DeadlineExceeded("the request's deadline passed before its answer came"))

    def _shed(self, request: PendingRequest) -> None:
        self._end(request, self._too_late(request.part.call))

    def _end(self, request: PendingRequest, error: Exception) -> None:
        request.queue.remove(request)
        request.fail(error)

    # --- dispatch ----------------------------------------------------------------------------------------------------

    def _dispatch_soon(self, queue: ModelQueue) -> None:
        """Requests that the event loop reads in one turn meet in one batch; no time passes in between."""
        if not queue.dispatch_is_due:
            queue.dispatch_is_due = True
            self._loop.call_soon(self._dispatch_waiting, queue)

    def _dispatch_waiting(self, queue: ModelQueue) -> None:
        queue.dispatch_is_due = False
        self._deadlines.run_due()
        while True:
            batches = self._batches(queue)
            batch = queue.take(self._limits, self._clock(), batches, self._shed) if batches else []
            if not batch:
                return
            dispatch = Dispatch(batch, queue, self._send, self._limits, self._clock, self._observer)
            queue.in_flight += 1
            verb = queue.verb(batch[0].part.call)
            verb.rows_in_flight += dispatch.rows
            dispatch.start()
            task = self._loop.create_task(self._run(queue, verb, dispatch))
            self._dispatches.add(task)
            task.add_done_callback(self._dispatches.discard)

    def _batches(self, queue: ModelQueue) -> int:
        """Where a batch may go now, how many the waiting rows and those under way are shared out to; else 0."""
        limits = self._limits
        offered = self._capacity(queue.model, queue.version)
        capacity = as_seen_through(offered, queue.foreign and limits.stock_envelope)
        if not (queue.by_row and limits.enabled):
            return int(queue.in_flight < slots_alone(capacity, limits))
        slots = slots_of_batches(capacity, limits)
        if queue.in_flight < slots:
            return max(1, max(1, capacity.workers) // limits.processes)
        pipelined = queue.in_flight == slots and may_pipeline(capacity, limits)
        return slots + 1 if pipelined and queue.has_batch(limits, slots + 1, self._clock()) else 0

    async def _run(self, queue: ModelQueue, verb: Verb, dispatch: Dispatch) -> None:
        try:
            await dispatch.run()
        finally:
            queue.in_flight -= 1
            verb.rows_in_flight -= dispatch.rows
            self._dispatch_waiting(queue)


def _backlog(verb: Verb) -> int:
    return verb.backlog
