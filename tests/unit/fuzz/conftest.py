"""Figures of the report: how many hostile inputs each parser got, and how long the worst of them took."""

from __future__ import annotations

import functools
import resource
import time
from typing import Any, Iterator

import pytest

from tests.faults.figures import record


@pytest.fixture(autouse=True)
def _figures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Times the examples of a property test and records how many there were, and the longest."""
    handle = getattr(request.function, "hypothesis", None)
    if handle is None:
        yield
        return
    inner, seconds = handle.inner_test, [0.0]

    @functools.wraps(inner)
    def timed(*arguments: Any, **named: Any) -> None:
        started = time.perf_counter()
        inner(*arguments, **named)
        seconds.append(time.perf_counter() - started)

    handle.inner_test = timed
    yield
    handle.inner_test = inner
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    figures = {"inputs": len(seconds) - 1, "longest_ms": round(max(seconds) * 1e3, 2), "process_peak_mb": peak}
    record(6, request.function.__name__.replace("test_", "").replace("_", " "), figures)
