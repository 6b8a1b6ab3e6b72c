"""The requests that wait for one model: grouped by what may share a batch, oldest first."""

from __future__ import annotations

import heapq
from typing import Callable, Deque, Dict, Hashable, List, Optional, Tuple

from kserve_wrapper.batching.limits import CoalescerLimits
from kserve_wrapper.batching.outbox import Deliver, Outbox
from kserve_wrapper.batching.rows import Portion
from kserve_wrapper.batching.service_time import Pace
from kserve_wrapper.core.calls import Call, ModelMetadata, Reply, V1Call
from kserve_wrapper.core.timers import Entry

#: What a reply's size depends on most: protocol and verb.
ReplyKind = Tuple[bool, bool]
#: Seconds for which rows are not merged after a stock handler mixed them up.
DISTRUST = 60.0


class Waiter:
    """One request, from its admission until its outcome is delivered, or nobody wants it any more.

    Args:
        arrival: its number.
        admitted: when, on the coalescer's clock, as is ``deadline``.
        deliver: takes the outcome.
        outbox: by which the outcome goes there.
    """

    __slots__ = (
        "_outbox",
        "admitted",
        "arrival",
        "deadline",
        "deliver",
        "lane",
        "left",
        "metadata",
        "over",
        "portion",
        "queued",
        "watch",
    )

    def __init__(
        self,
        lane: Lane,
        portion: Portion,
        metadata: ModelMetadata,
        admitted: float,
        deadline: float,
        arrival: int,
        deliver: Deliver,
        outbox: Outbox[Waiter],
    ) -> None:
        self.lane = lane
        self.portion = portion
        self.metadata = metadata
        self.admitted = admitted
        self.deadline = deadline
        self.arrival = arrival
        self.queued = True
        #: Its outcome is settled; nothing more is to be done for it.
        self.over = False
        #: Its outcome is delivered, or nobody wants it any more.
        self.left = False
        #: Its entry with whoever watches deadlines, who sets it.
        self.watch: Entry
        self.deliver = deliver
        self._outbox = outbox

    def resolve(self, reply: Reply) -> None:
        if not self.over:
            self.over = True
            self._outbox.put(self, reply)

    def fail(self, error: Exception) -> None:
        if not self.over:
            self.over = True
            # With its traceback, it and all that its frames hold would wait for the garbage collector.
            self._outbox.put(self, error.with_traceback(None))


class _Group(Deque[Waiter]):
    """Waiting requests that may share a batch, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0
        self.bytes = 0

    def put(self, waiter: Waiter) -> None:
        self.append(waiter)
        self.rows += waiter.portion.rows
        self.bytes += waiter.portion.size

    def pop_oldest(self) -> Waiter:
        waiter = self.popleft()
        self.rows -= waiter.portion.rows
        self.bytes -= waiter.portion.size
        return waiter


class Lane:
    """One model (and version): its waiting requests and its upstream requests in flight."""

    def __init__(self, model: str, version: Optional[str]) -> None:
        self.model = model
        self.version = version
        #: Upstream requests under way, and the rows in them.
        self.in_flight = 0
        self.rows_in_flight = 0
        self.rows_waiting = 0
        self.pace = Pace()
        self.pump_is_due = False
        self._groups: Dict[Hashable, _Group] = {}
        #: Groups by the arrival of their oldest; an entry may be older than what its group still holds.
        self._order: List[Tuple[int, Hashable]] = []
        self._row_bytes: Dict[ReplyKind, float] = {}
        self._distrusted_until: Dict[ReplyKind, float] = {}

    @property
    def line(self) -> int:
        """Rows that the model has yet to answer."""
        return self.rows_waiting + self.rows_in_flight

    def add(self, waiter: Waiter) -> None:
        # Whatever shares with nobody is a group of one.
        key = waiter.arrival if waiter.portion.key is None else waiter.portion.key
        group = self._groups.get(key)
        if group is None:
            self._groups[key] = group = _Group()
            heapq.heappush(self._order, (waiter.arrival, key))
        group.put(waiter)

    def has_batch(self, limits: CoalescerLimits, batches: int) -> bool:
        """The next batch has all that ``take`` would give it, but for requests that have ended meanwhile."""
        if not self._order:
            return False
        group = self._groups[self._order[0][1]]
        if group[0].portion.key is None:
            return True
        most = min(self._share(group, batches), self._most_rows(group[0], limits))
        return group.rows >= most or group.bytes >= limits.bytes_per_batch

    def take(
        self, limits: CoalescerLimits, now: float, batches: int, give_up: Callable[[Waiter], None]
    ) -> List[Waiter]:
        """The next batch: the oldest request and those behind it that may share, within the limits.

        Finished (cancelled, expired) requests are dropped on the way. Empty when nothing waits.

        Args:
            give_up: told of requests that had to be dropped in favour of those behind them.
            batches: that the rows of this group and those under way are shared out to, this one among them. Equal
                ones keep workers busiest: behind a small one, a worker would wait for the clients of a large one.
        """
        while self._order:
            arrival, key = self._order[0]
            group = self._groups[key]
            while group and (group[0].over or group[0].deadline <= now):
                group.pop_oldest()
            if group:
                self._give_up_hopeless(group, now, give_up)
            if group and group[0].arrival == arrival:
                batch = self._fill(group, limits, now, self._share(group, batches))
                self._reorder(key, group)
                return batch
            self._reorder(key, group)
        return []

    def learn_size(self, call: Call, reply: Reply, rows: int) -> None:
        """Remembers how large an answer's rows are; what was learned fades, so that one giant is forgotten."""
        if reply.size and rows:
            kind = kind_of(call)
            self._row_bytes[kind] = max(reply.size / rows, 0.95 * self._row_bytes.get(kind, 0.0))

    def distrust(self, call: Call, now: float) -> None:
        """The handler did not keep to one answer a row: its requests go alone for a while."""
        self._distrusted_until[kind_of(call)] = now + DISTRUST

    def may_merge(self, call: Call, now: float) -> bool:
        if not self._distrusted_until:
            return True
        return now >= self._distrusted_until.get(kind_of(call), now)

    def _give_up_hopeless(self, group: _Group, now: float, give_up: Callable[[Waiter], None]) -> None:
        """Those whose answer would come late, so that it comes in time for those behind them; not all."""
        soonest = now + self.pace.seconds(self.rows_in_flight + group[0].portion.rows)
        if group[0].deadline >= soonest:
            return
        if any(waiter.deadline >= soonest and not waiter.over for waiter in group):
            while group[0].deadline < soonest:
                give_up(group.pop_oldest())

    def _fill(self, group: _Group, limits: CoalescerLimits, now: float, share: int) -> List[Waiter]:
        first = group.pop_oldest()
        batch = [first]
        rows, size = first.portion.rows, first.portion.size
        most = min(share, self._most_rows(first, limits))
        while group:
            waiter = group[0]
            if not (waiter.over or waiter.deadline <= now):
                rows += waiter.portion.rows
                size += waiter.portion.size
                if rows > most or size > limits.bytes_per_batch:
                    break
                batch.append(waiter)
            group.pop_oldest()
        return batch

    def _share(self, group: _Group, batches: int) -> int:
        return -(-(group.rows + self.rows_in_flight) // batches)

    def _most_rows(self, first: Waiter, limits: CoalescerLimits) -> int:
        row_bytes = self._row_bytes.get(kind_of(first.portion.call))
        if not row_bytes:
            return limits.rows_per_batch
        return min(limits.rows_per_batch, int(limits.reply_bytes_per_batch / row_bytes))

    def _reorder(self, key: Hashable, group: _Group) -> None:
        if group:
            heapq.heapreplace(self._order, (group[0].arrival, key))
        else:
            heapq.heappop(self._order)
            del self._groups[key]


def kind_of(call: Call) -> ReplyKind:
    """What batches of it have in common, whatever their rows."""
    return isinstance(call, V1Call), call.explain
