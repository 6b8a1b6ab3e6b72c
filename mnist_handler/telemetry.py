"""What a worker tells of its batches: totals for TorchServe's metrics, and TorchServe's own lines, rate-limited.

A TorchServe metric is a log line that goes through a pipe to the Java side, which parses it. So times and rows are
summed up and reported at most once an interval: totals that only grow, from which Prometheus computes rates and means
(declared in ``config/metrics.yaml``). And a batch waits for two lines of TorchServe's worker: that it was received, and
``PredictionTime``, a gauge, of which Prometheus sees the last value of many anyway.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Dict, Tuple

#: How the lines begin (TorchServe 0.9.0 to 0.12.0), by the logger that writes them. Lines of another release that
#: begin otherwise are left alone.
LINES = {"": "Backend received inference at", "ts.metrics.caching_metric": "[METRICS]PredictionTime."}
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


class RateLimit(logging.Filter):
    """Passes lines with a given beginning at most once in ``interval`` seconds, and all others."""

    def __init__(self, beginning: str, interval: float) -> None:
        super().__init__()
        self._beginning, self._interval = beginning, interval
        self._due = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if not (isinstance(record.msg, str) and record.msg.startswith(self._beginning)):
            return True
        now = time.monotonic()
        if now < self._due:
            return False
        self._due = now + self._interval
        return True


_filters: Dict[str, RateLimit] = {}


def rate_limit(interval: float) -> None:
    """At most one of each of these lines in ``interval`` seconds; 0 = all of them. The last call counts."""
    for name, beginning in LINES.items():
        logger = logging.getLogger(name)
        if name in _filters:
            logger.removeFilter(_filters[name])
        _filters[name] = RateLimit(beginning, interval)
        logger.addFilter(_filters[name])
