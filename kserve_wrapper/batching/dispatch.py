"""One batch on its way: sent, split, and where it fails taken apart until each request has its own outcome."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Awaitable, Callable, Dict, List, Mapping, Optional, Sequence

from kserve_wrapper.batching.limits import BatchingLimits
from kserve_wrapper.batching.queue import ModelQueue, PendingRequest
from kserve_wrapper.batching.rows import RowsMismatch, merge, split
from kserve_wrapper.batching.service_time import Sample
from kserve_wrapper.core.calls import Call, ModelMetadata, Reply
from kserve_wrapper.core.errors import (
    InternalError,
    InvalidRequest,
    OutOfResources,
    TooLarge,
    Unavailable,
    Unseen,
    WrapperError,
)
from kserve_wrapper.core.headers import trace_of
from kserve_wrapper.upstream.connection import Interrupted
from kserve_wrapper.upstream.errors import Busy, NotRegistered, ReplyTooLong, WorkerLost

logger = logging.getLogger(__name__)

#: Sends a call with its request headers until a deadline, at once as far as it can; to be awaited for the reply.
Send = Callable[[Call, ModelMetadata, float, Mapping[str, str]], Awaitable[Reply]]

#: Seconds before a batch that reached no worker is offered again; they double up to the longest.
PAUSE = 0.02
LONGEST_PAUSE = 0.32
#: Rows at fault that one message tells; ``rows`` has them all.
ROWS_TOLD = 10


class Observer:
    """What the batcher tells about itself; does nothing here."""

    def sent(self, call: Call, requests: int, rows: int) -> None:
        """An upstream request goes out."""

    def departs(
        self, requests: Sequence[PendingRequest], now: float, headers: Mapping[str, str], again: bool
    ) -> Mapping[str, str]:
        """What travels upstream beside a batch that leaves now; ``again``: it was sent before. Here: ``headers``."""
        return headers

    def answered(
        self, model: str, version: Optional[str], rows: int, requests: int, waited: float, seconds: float
    ) -> None:
        """A batch was answered, ``seconds`` after it left; its requests had waited so long together before that."""

    def given_up(self, model: str, version: Optional[str], seconds: float) -> None:
        """A request ended in an error, so long after its admission."""

    def failed(self, call: Call, error: WrapperError, requests: int) -> None:
        """It came back with an error; it is taken apart when it had several requests."""

    def isolated(self, call: Call, sends: int) -> None:
        """A batch that failed was taken apart, by so many further upstream requests."""

    def lost_trust(self, call: Call) -> None:
        """Requests of this kind failed for their company alone: for a while they go alone, or fewer together."""

    def dropped(self, call: Call, reason: str) -> None:
        """A request ends without an answer: ``expired``, ``cancelled``, ``full`` or ``late`` (foreseen to be)."""


class _Hopeless(Exception):
    """What is left of the batch would meet the same error."""

    def __init__(self, error: WrapperError) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class _Sent:
    """An upstream request under way; times are of the batcher's clock."""

    requests: List[PendingRequest]
    call: Call
    rows: int
    reply: Awaitable[Reply]
    departed: float
    #: What the model had to answer then: rows of this verb under way, in all, and of the other verb under way.
    rows_in_flight: int
    backlog: int
    beside: int


class Dispatch:
    """Gets every request of a batch its answer or its own error.

    A batch of n requests costs at most 2n - 1 upstream requests: a part that fails names requests at fault, which
    leaves fewer, or is halved until each has gone alone. Only an error that no request can be the cause of ends all.
    What no worker has seen does not count.
    """

    def __init__(
        self,
        batch: List[PendingRequest],
        queue: ModelQueue,
        send: Send,
        limits: BatchingLimits,
        clock: Callable[[], float],
        observer: Observer,
    ) -> None:
        self._batch = batch
        self._queue = queue
        self._metadata = batch[0].metadata
        self.rows = sum([request.part.rows for request in batch])
        self._send = send
        self._limits = limits
        self._clock = clock
        self._observer = observer
        self._sends = 0
        #: Parts of several requests failed, and nothing told which request was the cause.
        self._unexplained = False
        self._someone_failed = False
        self._started: Optional[_Sent] = None

    def start(self) -> None:
        """Sends the batch now, where ``run`` would in another turn of the event loop."""
        try:
            self._started = self._start(self._batch)
        except Exception as error:
            self._started = self._sent(self._batch, self._batch[0].part.call, self.rows, _raise(error))

    async def run(self) -> None:
        """Returns when every request of the batch is resolved, whatever happens."""
        try:
            await self._serve(self._batch)
            self._learn_from_failures()
        except _Hopeless as hopeless:
            self._fail(hopeless.error)
        except asyncio.CancelledError:
            self._fail(Unavailable("the server is shutting down"))
            raise
        except Exception:
            logger.exception("a batch of model %s failed in the wrapper", self._metadata.name)
        finally:
            self._fail(InternalError("the wrapper failed on this request; its log has the cause"))

    async def _serve(self, requests: List[PendingRequest]) -> None:
        # What is under way keeps its slot until it is answered, even if nobody waits any more.
        waiting = requests if self._started else [request for request in requests if not request.over]
        error = await self._try(waiting) if waiting else None
        if error is not None:
            for part in self._take_apart(waiting, error):
                await self._serve(part)

    async def _try(self, requests: List[PendingRequest]) -> Optional[WrapperError]:
        """Sends requests as one; what failed is returned.

        Raises:
            _Hopeless: the error is no request's fault.
        """
        pause, until = PAUSE, self._clock() + self._limits.busy_timeout
        while True:
            try:
                await self._exchange(requests)
                return None
            except WrapperError as error:
                self._observer.failed(requests[0].part.call, error, len(requests))
                if isinstance(error, (Interrupted, NotRegistered)):
                    raise _Hopeless(error) from None
                if not isinstance(error, Unseen):
                    return error.with_traceback(None)
                # What cannot be reached at all is tried once more, what has no room at the moment for some time.
                if self._clock() + pause > until or (pause > PAUSE and not isinstance(error, Busy)):
                    raise _Hopeless(error) from None
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            requests = [request for request in requests if not request.over]
            if not requests:
                return None

    async def _exchange(self, requests: List[PendingRequest]) -> None:
        sent, self._started = self._started, None
        sent = sent or self._start(requests)
        reply = await sent.reply
        replies = split(reply, [request.part for request in sent.requests])
        self._learn(sent, reply)
        for request, own in zip(sent.requests, replies):
            request.resolve(own)

    def _learn(self, sent: _Sent, reply: Reply) -> None:
        queue, seconds = self._queue, self._clock() - sent.departed
        queue.learn_size(sent.call, reply, sent.rows)
        if not sent.beside:
            queue.verb(sent.call).service_time.learn(Sample(seconds, sent.rows_in_flight, sent.backlog))
        waited = [sent.departed - request.admitted for request in sent.requests if not request.over]
        self._observer.answered(queue.model, queue.version, sent.rows, len(waited), sum(waited), seconds)

    def _start(self, requests: List[PendingRequest]) -> _Sent:
        first = requests[0].part
        call = merge([request.part for request in requests])
        rows = sum([request.part.rows for request in requests])
        self._sends += 1
        self._observer.sent(call, len(requests), rows)
        # Who gave up sooner would send more to a worker that is at this still.
        patience = max([request.deadline for request in requests]) + self._limits.orphan_timeout
        headers = {**trace_of(first.call.headers), **first.headers} if len(requests) == 1 else first.headers
        headers = self._observer.departs(requests, self._clock(), headers, self._sends > 1)
        return self._sent(requests, call, rows, self._send(call, self._metadata, patience, headers))

    def _sent(self, requests: List[PendingRequest], call: Call, rows: int, reply: Awaitable[Reply]) -> _Sent:
        verb = self._queue.verb(call)
        beside = self._queue.rows_in_flight - verb.rows_in_flight
        return _Sent(requests, call, rows, reply, self._clock(), verb.rows_in_flight, verb.backlog, beside)

    def _take_apart(self, requests: List[PendingRequest], error: WrapperError) -> List[List[PendingRequest]]:
        """The parts to be sent again; requests at fault get their error."""
        at_fault = _by_owner(requests, error.rows) if error.rows else {}
        if at_fault:
            self._someone_failed = True
            for index, rows in at_fault.items():
                requests[index].fail(_own_error(error, rows))
            return [[request for index, request in enumerate(requests) if index not in at_fault]]
        if len(requests) == 1:
            self._someone_failed = True
            requests[0].fail(_copy(error, error.rows, error.message))
            return []
        self._remember(requests, error)
        if isinstance(error, (WorkerLost, ReplyTooLong)) or (isinstance(error, InvalidRequest) and self._names_rows):
            # Each part with the culprit in it would cost another worker; and who names rows at fault and named none
            # refuses what the requests have in common.
            return [[request] for request in requests]
        middle = len(requests) // 2
        return [requests[:middle], requests[middle:]]

    def _remember(self, requests: List[PendingRequest], error: WrapperError) -> None:
        call = requests[0].part.call
        if isinstance(error, RowsMismatch):
            self._lose_trust(call)
        elif isinstance(error, (TooLarge, OutOfResources)):
            self._lose_trust(call, sum([request.part.rows for request in requests]) // 2)
        else:
            self._unexplained = True

    def _learn_from_failures(self) -> None:
        call = self._batch[0].part.call
        if self._unexplained and not self._someone_failed:
            self._lose_trust(call)
        if self._sends > 1:
            self._observer.isolated(call, self._sends - 1)

    def _lose_trust(self, call: Call, rows: int = 0) -> None:
        self._queue.lose_trust(call, self._clock(), rows)
        self._observer.lost_trust(call)

    @property
    def _names_rows(self) -> bool:
        return "row_errors" in self._metadata.extensions

    def _fail(self, error: WrapperError) -> None:
        for request in self._batch:
            if not request.over:
                request.fail(_copy(error, error.rows, error.message))


async def _raise(error: Exception) -> Reply:
    raise error


def _by_owner(requests: List[PendingRequest], rows: Dict[int, str]) -> Dict[int, Dict[int, str]]:
    """Rows at fault by the request that they belong to, counted from 0 in it; nothing if one belongs to none."""
    owners: Dict[int, Dict[int, str]] = {}
    start = 0
    found = 0
    for index, request in enumerate(requests):
        own = {row - start: text for row, text in rows.items() if start <= row < start + request.part.rows}
        if own:
            owners[index] = own
        found += len(own)
        start += request.part.rows
    return owners if found == len(rows) else {}


def _own_error(error: WrapperError, rows: Dict[int, str]) -> WrapperError:
    told = sorted(rows.items())[:ROWS_TOLD]
    return _copy(error, rows, "; ".join([f"row {row}: {text}" for row, text in told]))


def _copy(error: WrapperError, rows: Mapping[int, str], message: str) -> WrapperError:
    """Each request raises an error of its own: a shared one would collect all their tracebacks."""
    own = type(error).__new__(type(error))
    own.__dict__.update(error.__dict__)
    # Not by its class's own constructor, whose arguments may be others.
    WrapperError.__init__(own, message, error.retry_after, rows)
    return own
