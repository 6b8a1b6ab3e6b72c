"""What TorchServe's worker logs for every batch, thinned out.

Each line goes through a pipe to the Java side, which parses it; the batch waits for two of them: that it was received,
and ``PredictionTime``, a gauge, of which Prometheus sees the last value of many anyway.
"""

from __future__ import annotations

import logging
import time
from typing import Dict

#: How the lines begin (TorchServe 0.9.0 to 0.12.0), by the logger that writes them. Lines of another release that
#: begin otherwise are left alone.
LINES = {"": "Backend received inference at", "ts.metrics.caching_metric": "[METRICS]PredictionTime."}


class Thinned(logging.Filter):
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


_filters: Dict[str, Thinned] = {}


def thin_out(interval: float) -> None:
    """At most one of each of these lines in ``interval`` seconds; 0 = all of them. The last call counts."""
    for name, beginning in LINES.items():
        logger = logging.getLogger(name)
        if name in _filters:
            logger.removeFilter(_filters[name])
        _filters[name] = Thinned(beginning, interval)
        logger.addFilter(_filters[name])
