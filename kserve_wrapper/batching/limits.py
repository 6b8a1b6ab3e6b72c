"""What the batcher may hold and send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import FrozenSet


@dataclass(frozen=True)
class BatchingLimits:
    """Bounds of the batcher in one server process. The defaults fit batchSize 1 and job_queue_size 10."""

    #: False sends each request alone; the other limits hold as before.
    enabled: bool = True
    #: Models whose operator says that they answer each row by itself, whatever their handlers tell.
    independent_rows: FrozenSet[str] = frozenset()
    #: Rows in one upstream request. A single request with more rows goes alone.
    rows_per_batch: int = 128
    #: Whether the batch size that a handler prefers, where that is smaller, holds in its place.
    preferred_sizes: bool = True
    #: Bytes of data in one upstream request (TorchServe's max_request_size is 6,553,500 unless set otherwise).
    bytes_per_batch: int = 4 * 1024 * 1024
    #: Bytes in one upstream answer, as foreseen from earlier answers (TorchServe's max_response_size, likewise).
    reply_bytes_per_batch: int = 4 * 1024 * 1024
    #: Requests of one model that may wait. Beyond: 503.
    queued_requests: int = 2048
    #: Rows of one model that may wait. Beyond: 503. One request alone may have more when none waits.
    queued_rows: int = 16384
    #: Bytes of data of one model that may wait. Beyond: 503. As with rows, one alone may have more.
    queued_bytes: int = 256 * 1024 * 1024
    #: Bytes of data that may wait, all models together. Beyond: 503, but for as much of each model as fills one batch.
    total_queued_bytes: int = 512 * 1024 * 1024
    #: Upstream requests at a time per ready worker. 1 keeps what follows collecting here rather than in
    #: TorchServe's queue.
    in_flight_per_worker: int = 1
    #: Whether one batch beyond those goes out, for all workers together, once it has as many rows as they have on
    #: average, or is full: the worker that is done first finds it there. False waits for the answer.
    pipelining: bool = True
    #: Server processes in front of the same models, this one among them.
    processes: int = 1
    #: Upstream requests of a model that may wait at TorchServe, where it does not tell (its job_queue_size): nothing
    #: goes out that could be one more, if all processes did.
    job_queue_size: int = 10
    #: Handlers without an envelope of their own are behind one of TorchServe's, which answers only the first of the
    #: requests that TorchServe hands to a worker together.
    stock_envelope: bool = False
    #: Seconds beyond the deadlines of its requests for which a batch keeps its slot, as the worker is at it still.
    #: TorchServe's default_response_timeout, after which it starts the worker anew.
    orphan_timeout: float = 120.0
    #: Seconds for which a batch that TorchServe has no room or no worker for is offered again.
    busy_timeout: float = 10.0
    #: Seconds, told to clients that find the queue full.
    retry_after: float = 1.0
