"""Times and rows of batches, to TorchServe's metrics (declared in ``config/metrics.yaml``).

A TorchServe metric is a log line that the Java side parses, so values are summed up and reported at most once an
interval: totals that only grow, from which Prometheus computes rates and means.
"""

from __future__ import annotations

import time
from typing import Any, Dict, Tuple

STAGES = ("Decode", "Preprocess", "Inference", "Explain", "Postprocess")


class Stopwatch:
    """Milliseconds of a batch, by stage. On CUDA, a stage that only queues work leaves its time to the next."""

    def __init__(self) -> None:
        self.times: Dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.times[stage] = self.times.get(stage, 0.0) + (now - self._last) * 1e3
        self._last = now


class Meter:
    """Totals since the last report.

    Args:
        interval: seconds between two reports; 0 = each batch.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._due = float("-inf")
        self._totals: Dict[Tuple[str, str], float] = {}

    def add(self, watch: Stopwatch, requests: int, rows: int, failed: int, metrics: Any) -> None:
        """Count a batch, and report when it is time. ``metrics`` is TorchServe's ``context.metrics``."""
        self._sum("HandlerBatches", "count", 1)
        self._sum("HandlerRequests", "count", requests)
        self._sum("HandlerRows", "count", rows)
        self._sum("HandlerFailedRequests", "count", failed)
        for stage, milliseconds in watch.times.items():
            self._sum(f"Handler{stage}Time", "ms", milliseconds)
        now = time.monotonic()
        if now >= self._due and metrics is not None:
            self._due = now + self._interval
            self._report(metrics)

    def _sum(self, name: str, unit: str, value: float) -> None:
        self._totals[name, unit] = self._totals.get((name, unit), 0) + value

    def _report(self, metrics: Any) -> None:
        for (name, unit), value in self._totals.items():
            if value:
                # An own list each time: TorchServe appends to its default argument.
                metrics.add_metric(name, round(value, 3), unit, dimensions=[])
        self._totals.clear()
