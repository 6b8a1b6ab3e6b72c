"""The delivery of one batch: sent, split, and where it fails narrowed down to the requests at fault."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Awaitable, Callable, Dict, List, Optional

from kserve_wrapper.batching.limits import CoalescerLimits
from kserve_wrapper.batching.queue import Lane, Waiter
from kserve_wrapper.batching.rows import RowsMismatch, merge, split
from kserve_wrapper.batching.service_time import Flight
from kserve_wrapper.core.calls import Call, ModelMetadata, Reply
from kserve_wrapper.core.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NotFound,
    OutOfResources,
    TooLarge,
    Unavailable,
    WrapperError,
)
from kserve_wrapper.upstream.errors import Unseen

logger = logging.getLogger(__name__)

Send = Callable[[Call, ModelMetadata, float], Awaitable[Reply]]

#: Seconds before the one further try of a batch that reached no worker.
PAUSE = 0.05
#: Rows at fault that one message tells; ``rows`` has them all.
ROWS_TOLD = 10


class Observer:
    """What the coalescer tells about itself; does nothing here."""

    def sent(self, call: Call, requests: int, rows: int) -> None:
        """An upstream request goes out."""

    def answered(
        self, model: str, version: Optional[str], rows: int, requests: int, waited: float, seconds: float
    ) -> None:
        """A batch was answered, ``seconds`` after it left; its requests had waited so long together before that."""

    def given_up(self, model: str, version: Optional[str], seconds: float) -> None:
        """A request ended in an error, so long after its admission."""

    def failed(self, call: Call, error: WrapperError, requests: int) -> None:
        """It came back with an error; it is narrowed down when it had several requests."""

    def dropped(self, call: Call, reason: str) -> None:
        """A request ends without an answer: ``expired``, ``cancelled``, ``full`` or ``late`` (foreseen to be)."""


@dataclass
class _Sent:
    """What is on its way upstream."""

    waiters: List[Waiter]
    call: Call
    rows: int
    reply: Awaitable[Reply]
    #: On the coalescer's clock; and what was under way and in the line then.
    departed: float
    in_flight: int
    line: int


@dataclass(frozen=True)
class _Part:
    waiters: List[Waiter]
    #: The other half is next; when this one turns out well, the fault is there and sending it whole is futile.
    fault_here_or_next: bool = False
    #: The others are next; what refuses this one refuses them as well.
    speaks_for_next: bool = False


class Delivery:
    """Gets every request of a batch its answer or its own error, within a bounded number of sends."""

    def __init__(
        self,
        batch: List[Waiter],
        lane: Lane,
        send: Send,
        limits: CoalescerLimits,
        clock: Callable[[], float],
        observer: Observer,
        answer_came: Callable[[Lane], None],
    ) -> None:
        self._batch = batch
        self._lane = lane
        self._metadata = batch[0].metadata
        self.rows = sum([waiter.portion.rows for waiter in batch])
        self._send = send
        self._sends_left = 1 + limits.resends_per_batch
        self._linger = limits.linger
        self._clock = clock
        self._observer = observer
        self._answer_came = answer_came
        self._retried = False
        self._begun: Optional[_Sent] = None

    def begin(self) -> None:
        """Sends the batch now, where ``run`` would in another turn of the event loop."""
        try:
            self._begun = self._start(self._batch)
        except Exception as error:
            # For ``run`` to deal with.
            self._begun = self._sent(self._batch, self._batch[0].portion.call, self.rows, _raise(error))

    async def run(self) -> None:
        """Returns when every request of the batch is resolved, whatever happens."""
        try:
            parts = [_Part(self._batch)]
            while parts and self._sends_left:
                await self._step(parts)
            self._fail(self._batch, Unavailable("requests sent together with this one failed: try again", 1))
        except asyncio.CancelledError:
            self._fail(self._batch, Unavailable("the server is shutting down"))
            raise
        except Exception:
            logger.exception("a batch of model %s failed in the wrapper", self._metadata.name)
        finally:
            self._fail(self._batch, InternalError("the wrapper failed on this request; its log has the cause"))

    async def _step(self, parts: List[_Part]) -> None:
        part = parts.pop()
        sent, self._begun = self._begun, None
        waiters = sent.waiters if sent else [waiter for waiter in part.waiters if not waiter.over]
        if not waiters:
            return
        self._sends_left -= 1
        try:
            await self._finish(sent or self._start(waiters))
        except Unseen as error:
            await self._retry_or_fail(parts, waiters, error)
        except WrapperError as error:
            self._observer.failed(waiters[0].portion.call, error, len(waiters))
            if part.speaks_for_next and isinstance(error, InvalidRequest) and not error.rows:
                self._fail(waiters + parts.pop().waiters, error)
            else:
                self._narrow(parts, waiters, error)
        else:
            if part.fault_here_or_next or part.speaks_for_next:
                parts.extend(_halves(parts.pop().waiters, one_at_fault=True))

    def _start(self, waiters: List[Waiter]) -> _Sent:
        call = merge([waiter.portion for waiter in waiters])
        rows = sum([waiter.portion.rows for waiter in waiters])
        self._observer.sent(call, len(waiters), rows)
        # Who gave up sooner would send more to a worker that is at this still.
        patience = max([waiter.deadline for waiter in waiters]) + self._linger
        reply = self._send(call, self._metadata, patience)
        return self._sent(waiters, call, rows, reply)

    def _sent(self, waiters: List[Waiter], call: Call, rows: int, reply: Awaitable[Reply]) -> _Sent:
        return _Sent(waiters, call, rows, reply, self._clock(), self._lane.rows_in_flight, self._lane.line)

    async def _finish(self, sent: _Sent) -> None:
        reply = await sent.reply
        self._answer_came(self._lane)
        self._lane.learn_size(sent.call, reply, sent.rows)
        self._lane.pace.learn(Flight(self._clock() - sent.departed, sent.in_flight, sent.line))
        replies = split(reply, [waiter.portion for waiter in sent.waiters])
        waited = [sent.departed - waiter.admitted for waiter in sent.waiters if not waiter.over]
        for waiter, own in zip(sent.waiters, replies):
            waiter.resolve(own)
        lane, seconds = self._lane, self._clock() - sent.departed
        self._observer.answered(lane.model, lane.version, sent.rows, len(waited), sum(waited), seconds)

    async def _retry_or_fail(self, parts: List[_Part], waiters: List[Waiter], error: Unseen) -> None:
        self._observer.failed(waiters[0].portion.call, error, len(waiters))
        if self._retried:
            self._fail(self._batch, error)
            return
        self._retried = True
        await asyncio.sleep(PAUSE)
        parts.append(_Part(waiters))

    def _narrow(self, parts: List[_Part], waiters: List[Waiter], error: WrapperError) -> None:
        at_fault = _by_owner(waiters, error.rows) if error.rows else {}
        if at_fault:
            for index, rows in at_fault.items():
                waiters[index].fail(_own_error(error, rows))
            parts.append(_Part([w for index, w in enumerate(waiters) if index not in at_fault]))
        elif len(waiters) == 1:
            waiters[0].fail(error)
        elif isinstance(error, (Unavailable, DeadlineExceeded, NotFound)):
            # No request's fault: whatever else of this batch is to be sent would meet the same.
            self._fail(self._batch, error)
        elif isinstance(error, InvalidRequest) and "row_errors" in self._metadata.extensions:
            # A handler that names rows at fault named none: what it refuses is what the requests have in common.
            parts.extend([_Part(waiters[1:]), _Part(waiters[:1], speaks_for_next=True)])
        else:
            if isinstance(error, RowsMismatch):
                self._lane.distrust(waiters[0].portion.call, self._clock())
            parts.extend(_halves(waiters, one_at_fault=not isinstance(error, (TooLarge, OutOfResources))))

    def _fail(self, waiters: List[Waiter], error: WrapperError) -> None:
        for waiter in waiters:
            if not waiter.over:
                waiter.fail(_copy(error, error.rows, error.message))


async def _raise(error: Exception) -> Reply:
    raise error


def _halves(waiters: List[Waiter], one_at_fault: bool) -> List[_Part]:
    """As a stack: the first half is sent first. ``one_at_fault``: a request, rather than their number, failed."""
    if len(waiters) < 2:
        return [_Part(waiters)]
    middle = len(waiters) // 2
    return [_Part(waiters[middle:]), _Part(waiters[:middle], one_at_fault)]


def _by_owner(waiters: List[Waiter], rows: Dict[int, str]) -> Dict[int, Dict[int, str]]:
    """Rows at fault by the request that they belong to, counted from 0 in it; nothing if one belongs to none."""
    owners: Dict[int, Dict[int, str]] = {}
    start = 0
    found = 0
    for index, waiter in enumerate(waiters):
        own = {row - start: text for row, text in rows.items() if start <= row < start + waiter.portion.rows}
        if own:
            owners[index] = own
        found += len(own)
        start += waiter.portion.rows
    return owners if found == len(rows) else {}


def _own_error(error: WrapperError, rows: Dict[int, str]) -> WrapperError:
    told = sorted(rows.items())[:ROWS_TOLD]
    return _copy(error, rows, "; ".join([f"row {row}: {text}" for row, text in told]))


def _copy(error: WrapperError, rows: Dict[int, str], message: str) -> WrapperError:
    """Each waiter raises an error of its own: a shared one would collect all their tracebacks."""
    own = type(error).__new__(type(error))
    own.__dict__.update(error.__dict__)
    # Not by its class's own constructor, whose arguments may be others.
    WrapperError.__init__(own, message, error.retry_after, rows)
    return own
