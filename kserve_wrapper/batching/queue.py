"""The requests that wait for one model: grouped by what may share a batch, oldest first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Callable, Dict, Hashable, Iterable, Iterator, List, Optional, Tuple

from kserve_wrapper.batching.limits import BatchingLimits
from kserve_wrapper.batching.rows import BatchSlice
from kserve_wrapper.batching.service_time import ServiceTime
from kserve_wrapper.batching.trust import Trust
from kserve_wrapper.core.calls import Call, ModelMetadata, Reply, V1Call
from kserve_wrapper.core.timers import Entry

#: What a reply's size and a handler's failings depend on most: protocol and verb.
Kind = Tuple[bool, bool]


class PendingRequest:
    """One request, from its admission to its outcome.

    Args:
        queue: of its model.
        part: its rows.
        metadata: of the handler that will answer it.
        admitted: when, on the batcher's clock, as is ``deadline``.
        arrival: its number.
        outcome: takes the reply, or the error that ends it; whoever cancels it wants neither.
    """

    __slots__ = ("admitted", "arrival", "deadline", "metadata", "outcome", "part", "queue", "watch")

    def __init__(
        self,
        queue: ModelQueue,
        part: BatchSlice,
        metadata: ModelMetadata,
        admitted: float,
        deadline: float,
        arrival: int,
        outcome: asyncio.Future[Reply],
    ) -> None:
        self.queue = queue
        self.part = part
        self.metadata = metadata
        self.admitted = admitted
        self.deadline = deadline
        self.arrival = arrival
        self.outcome = outcome
        #: Its entry with whoever watches deadlines, who sets it.
        self.watch: Entry

    @property
    def over(self) -> bool:
        """Its outcome is settled, or nobody wants it any more."""
        return self.outcome.done()

    def resolve(self, reply: Reply) -> None:
        if not self.outcome.done():
            self.outcome.set_result(reply)

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            # With its traceback, it and all that its frames hold would wait for the garbage collector.
            self.outcome.set_exception(error.with_traceback(None))


@dataclass
class Waiting:
    """How much waits."""

    requests: int = 0
    rows: int = 0
    bytes: int = 0

    def add(self, part: BatchSlice) -> None:
        self.requests += 1
        self.rows += part.rows
        self.bytes += part.size

    def remove(self, part: BatchSlice) -> None:
        self.requests -= 1
        self.rows -= part.rows
        self.bytes -= part.size


class Verb:
    """Predict or explain: the rows of it that the model has yet to answer, and how long those take."""

    def __init__(self) -> None:
        self.rows_waiting = 0
        self.rows_in_flight = 0
        self.service_time = ServiceTime()

    @property
    def backlog(self) -> int:
        return self.rows_waiting + self.rows_in_flight


class _Group:
    """Waiting requests of one key, oldest first."""

    def __init__(self, key: Optional[Hashable]) -> None:
        self.key = key
        self.waiting = Waiting()
        self._requests: OrderedDict[PendingRequest, None] = OrderedDict()

    def __iter__(self) -> Iterator[PendingRequest]:
        return iter(self._requests)

    def __contains__(self, request: PendingRequest) -> bool:
        return request in self._requests

    @property
    def oldest(self) -> PendingRequest:
        return next(iter(self._requests))

    def add(self, request: PendingRequest) -> None:
        self._requests[request] = None
        self.waiting.add(request.part)

    def remove(self, request: PendingRequest) -> None:
        del self._requests[request]
        self.waiting.remove(request.part)


class ModelQueue:
    """One model (and version): its waiting requests and its upstream requests in flight.

    Args:
        model: its name.
        version: None while the default version is unknown.
        total: counts what waits for all models together.
    """

    def __init__(self, model: str, version: Optional[str], total: Waiting) -> None:
        self.model = model
        self.version = version
        self.waiting = Waiting()
        #: Upstream requests under way.
        self.in_flight = 0
        self.dispatch_is_due = False
        #: The handler answers each row by itself; and it is none that tells of itself.
        self.by_row = False
        self.foreign = True
        #: Rows beyond which a batch does not pay, as the handler tells; None where it does not.
        self.preferred_rows: Optional[int] = None
        self._total = total
        self._verbs: Dict[bool, Verb] = {False: Verb(), True: Verb()}
        self._groups: Dict[Optional[Hashable], _Group] = {}
        self._trust: Dict[Kind, Trust] = {}
        self._reply_bytes: Dict[Kind, float] = {}

    def verb(self, call: Call) -> Verb:
        return self._verbs[call.explain]

    @property
    def rows_in_flight(self) -> int:
        return sum([verb.rows_in_flight for verb in self._verbs.values()])

    @property
    def most_seconds(self) -> float:
        """``seconds`` is never more."""
        return sum([verb.service_time.most_seconds for verb in self._verbs.values()])

    def seconds(self, backlog: Callable[[Verb], int], call: Call, rows: int) -> float:
        """Until the model has answered a backlog and ``rows`` of a call behind it; 0 while nothing is known."""
        own = self._verbs[call.explain]
        return sum(
            [v.service_time.seconds(backlog(v) + (rows if v is own else 0)) for v in self._verbs.values()],
        )

    def add(self, request: PendingRequest) -> None:
        part = request.part
        group = self._groups.get(part.key)
        if group is None:
            group = self._groups[part.key] = _Group(part.key)
        group.add(request)
        self.waiting.add(part)
        self._total.add(part)
        self.verb(part.call).rows_waiting += part.rows

    def remove(self, request: PendingRequest) -> None:
        """Does nothing for one that does not wait."""
        part = request.part
        group = self._groups.get(part.key)
        if group is None or request not in group:
            return
        group.remove(request)
        if not group.waiting.requests:
            del self._groups[part.key]
        self.waiting.remove(part)
        self._total.remove(part)
        self.verb(part.call).rows_waiting -= part.rows

    def has_batch(self, limits: BatchingLimits, batches: int, now: float) -> bool:
        """The next batch has all that ``take`` would give it."""
        group = self._next_group()
        if group is None:
            return False
        if group.key is None:
            return True
        most = min(self._share(group, batches), self._most_rows(group.oldest, limits, now))
        return group.waiting.rows >= most or group.waiting.bytes >= limits.bytes_per_batch

    def take(
        self, limits: BatchingLimits, now: float, batches: int, shed: Callable[[PendingRequest], None]
    ) -> List[PendingRequest]:
        """The next batch: the oldest request and those behind it that may share, within the limits.

        Args:
            limits: see there.
            now: on the batcher's clock.
            batches: that the rows of this group and those under way are shared out to, this one among them. Equal
                ones keep workers busiest: behind a small one, a worker would wait for the clients of a large one.
            shed: ends those that would be answered too late, in favour of those behind them.

        Returns:
            Empty when nothing waits.
        """
        group = self._next_group()
        if group is None:
            return []
        self._shed_hopeless(group, now, shed)
        batch = list(self._fill(group, limits, now, self._share(group, batches)))
        for request in batch:
            self.remove(request)
        return batch

    def shareable_rows(self, call: Call, now: float) -> Optional[int]:
        """The most rows that calls of this kind may bring together; 0: they go alone. None sets no bound."""
        trust = self._trust.get(kind_of(call))
        return None if trust is None else trust.rows(now)

    def lose_trust(self, call: Call, now: float, rows: int = 0) -> None:
        """Calls of this kind failed in company and would not have failed with ``rows`` rows or fewer."""
        self._trust.setdefault(kind_of(call), Trust()).lose(now, rows)

    def learn_size(self, call: Call, reply: Reply, rows: int) -> None:
        """Remembers how large an answer's rows are; what was learned fades, so that one giant is forgotten."""
        if reply.size and rows:
            kind = kind_of(call)
            self._reply_bytes[kind] = max(reply.size / rows, 0.95 * self._reply_bytes.get(kind, 0.0))

    def _next_group(self) -> Optional[_Group]:
        if len(self._groups) < 2:
            return next(iter(self._groups.values()), None)
        return min(self._groups.values(), key=lambda group: group.oldest.arrival)

    def _shed_hopeless(self, group: _Group, now: float, shed: Callable[[PendingRequest], None]) -> None:
        """Head-drop load shedding: ends those at the front that would be late where one behind them would not."""
        first = group.oldest
        soonest = now + self.seconds(lambda verb: verb.rows_in_flight, first.part.call, first.part.rows)
        if first.deadline < soonest and any(request.deadline >= soonest for request in group):
            while group.oldest.deadline < soonest:
                shed(group.oldest)

    def _fill(self, group: _Group, limits: BatchingLimits, now: float, share: int) -> Iterable[PendingRequest]:
        rows = size = 0
        most = min(share, self._most_rows(group.oldest, limits, now))
        for request in group:
            rows += request.part.rows
            size += request.part.size
            if request is not group.oldest and (group.key is None or rows > most or size > limits.bytes_per_batch):
                return
            yield request

    def _share(self, group: _Group, batches: int) -> int:
        return -(-(group.waiting.rows + self.rows_in_flight) // batches)

    def _most_rows(self, first: PendingRequest, limits: BatchingLimits, now: float) -> int:
        call = first.part.call
        most = limits.rows_per_batch
        if self.preferred_rows and limits.preferred_sizes:
            most = min(most, self.preferred_rows)
        shareable = self.shareable_rows(call, now)
        if shareable is not None:
            most = min(most, shareable)
        row_bytes = self._reply_bytes.get(kind_of(call))
        return min(most, int(limits.reply_bytes_per_batch / row_bytes)) if row_bytes else most


def kind_of(call: Call) -> Kind:
    return isinstance(call, V1Call), call.explain
