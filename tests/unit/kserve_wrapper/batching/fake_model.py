"""A model behind TorchServe, as the batcher sees it: answers V1 rows with their own tag, after a scripted delay."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, List, Mapping, Optional, Tuple

from kserve_wrapper.batching.batcher import Batcher
from kserve_wrapper.batching.dispatch import Observer
from kserve_wrapper.batching.limits import BatchingLimits
from kserve_wrapper.core.calls import Call, ModelCapacity, ModelMetadata, Reply, V1Call, V1Reply
from kserve_wrapper.core.errors import InternalError, InvalidRequest

NO_HEADERS: Mapping[str, str] = {}
OURS = ModelMetadata("m", ["1"], extensions=["row_errors", "independent_rows"])
#: A handler of which nothing is known; and one whose operator says that it answers row by row.
STOCK = ModelMetadata("m", ["1"])
BY_ROW = ModelMetadata("m", ["1"], extensions=["independent_rows"])


class FakeModel:
    """Rows are ``{"id": …, "bad": …}``; a bad one fails the request it is in.

    ``on_send`` may raise, or change the reply.
    """

    def __init__(self, delay: float = 0.01, metadata: ModelMetadata = OURS) -> None:
        self.delay = delay
        self.metadata = metadata
        self.misused = False
        self.sent: List[Tuple[float, V1Call]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.on_send: Callable[[int, V1Call], Optional[Reply]] = lambda index, call: None

    async def send(
        self, call: Call, metadata: ModelMetadata, deadline: float, headers: Mapping[str, str] = NO_HEADERS
    ) -> Reply:
        if not isinstance(call, V1Call) or metadata is not self.metadata:
            self.misused = True
            raise TypeError("a V1 call and this model's metadata are expected")
        index = len(self.sent)
        self.sent.append((asyncio.get_running_loop().time(), call))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.delay)
            reply = self.on_send(index, call)
            return reply if reply is not None else self.answer(call)
        finally:
            self.in_flight -= 1

    def answer(self, call: V1Call) -> Reply:
        bad = {index: f"{row['id']} is bad" for index, row in enumerate(call.instances) if row.get("bad")}
        if bad and "row_errors" in self.metadata.extensions:
            raise InvalidRequest("rows at fault", rows=bad)
        if bad:
            raise InternalError("the model failed on this request")
        return V1Reply([f"answer to {row['id']}" for row in call.instances])

    @property
    def batches(self) -> List[List[Any]]:
        """The ids of each upstream request's rows."""
        return [[row["id"] for row in call.instances] for _, call in self.sent]


class Watch(Observer):
    """The most that ever waited for one model, seen whenever something went out; and why requests went unanswered."""

    def __init__(self) -> None:
        self.batcher: Optional[Batcher] = None
        self.most_requests = self.most_rows = 0
        self.reasons: List[str] = []

    def dropped(self, call: Call, reason: str) -> None:
        self.reasons.append(reason)

    def sent(self, call: Call, requests: int, rows: int) -> None:
        if self.batcher is not None:
            for queue in self.batcher._queues.values():
                self.most_requests = max(self.most_requests, queue.waiting.requests)
                self.most_rows = max(self.most_rows, queue.waiting.rows)


class Rig:
    """A batcher in front of a fake model, on the running loop's clock; ``slots`` may change.

    Unless ``limits`` say otherwise nothing goes ahead: what does not find a slot waits.
    """

    def __init__(
        self,
        model: FakeModel,
        limits: Optional[BatchingLimits] = None,
        slots: int = 1,
        batch_size: Optional[int] = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.model = model
        self.slots = slots
        self.batch_size = batch_size
        self.start = self.loop.time()
        self.watch = Watch()
        self.batcher = Batcher(
            model.send,
            limits or BatchingLimits(pipelining=False),
            lambda name, version: ModelCapacity(self.slots, self.batch_size),
            lambda name, version: model.metadata,
            lambda name: "1.0",
            None,
            self.loop.time,
            self.watch,
        )
        self.watch.batcher = self.batcher

    def submit(self, *ids: str, timeout: float = 60.0, bad: bool = False, **fields: Any) -> asyncio.Task[Any]:
        """Starts a request with a row for each id; its task ends with the results, or raises."""
        rows = [{"id": row, "bad": bad} for row in ids]
        size = sum(len(row) + 8 for row in ids)
        call = V1Call(**{"model": "m", "version": None, "explain": False, "instances": rows, "size": size, **fields})

        async def results() -> Any:
            reply = await self.batcher.submit(call, self.loop.time() + timeout)
            assert isinstance(reply, V1Reply)
            return reply.results

        return self.loop.create_task(results())

    @property
    def elapsed(self) -> float:
        return round(self.loop.time() - self.start, 6)


def answers(*ids: str) -> List[str]:
    return [f"answer to {row}" for row in ids]
