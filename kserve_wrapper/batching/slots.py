"""How many upstream requests of a model may be under way from one server process."""

from __future__ import annotations

from kserve_wrapper.batching.limits import BatchingLimits
from kserve_wrapper.core.calls import ModelCapacity


def as_seen_through(capacity: ModelCapacity, stock_envelope: bool) -> ModelCapacity:
    """What a model can take of what TorchServe would give it.

    Args:
        capacity: as TorchServe tells it.
        stock_envelope: the handler is behind one of TorchServe's envelopes. Of the requests that a worker gets
            together, it answers the first and fails the others. One worker may be given all that is under way: so
            there is one request at a time, and TorchServe has nothing to batch.
    """
    if stock_envelope and (capacity.batch_size or 1) > 1:
        return ModelCapacity(1, 1, 0, capacity.use_job_ticket)
    return capacity


def slots_of_batches(capacity: ModelCapacity, limits: BatchingLimits) -> int:
    """Where requests share upstream requests: as many as the workers are at, so that what follows collects here.

    A worker that TorchServe hands several upstream requests together is at all of them.
    """
    return max(1, capacity.workers) * max(limits.in_flight_per_worker, capacity.batch_size or 1)


def may_pipeline(capacity: ModelCapacity, limits: BatchingLimits) -> bool:
    """Whether TorchServe has room for one batch more from each process, in front of its workers."""
    if not (limits.enabled and limits.pipelining) or capacity.use_job_ticket:
        return False
    waiting = limits.processes * (slots_of_batches(capacity, limits) + 1) - _at_workers(capacity)
    return waiting <= _queue_size(capacity, limits)


def slots_alone(capacity: ModelCapacity, limits: BatchingLimits) -> int:
    """Where each request goes alone: what the workers take, and as much again for when they are done.

    So TorchServe's own batching has requests to batch, and no more of them than its queue holds.
    """
    at_workers = _at_workers(capacity)
    waiting = 0 if capacity.use_job_ticket else min(at_workers, _queue_size(capacity, limits))
    return max(1, (at_workers + waiting) // limits.processes)


def _at_workers(capacity: ModelCapacity) -> int:
    return max(1, capacity.workers) * (capacity.batch_size or 1)


def _queue_size(capacity: ModelCapacity, limits: BatchingLimits) -> int:
    return limits.job_queue_size if capacity.job_queue_size is None else capacity.job_queue_size
