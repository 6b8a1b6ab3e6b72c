"""Counting in bulk gives what Prometheus's client counts one by one."""

from __future__ import annotations

from typing import List

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from kserve_wrapper.telemetry.buffered import Count, Tally

BOUNDS = (0.001, 0.01, 1.0, 10.0)
amounts = st.one_of(st.sampled_from(BOUNDS), st.floats(0, 100).map(lambda amount: round(amount, 4)))


def histogram(registry: CollectorRegistry) -> Histogram:
    return Histogram("h", "Text.", ["kind"], buckets=BOUNDS, registry=registry).labels("a")


def exposed(registry: CollectorRegistry) -> List[str]:
    """All samples but when they began, sums to nine digits: they are added up in another order."""
    lines = [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
    return [
        f"{line.rsplit(' ', 1)[0]} {float(line.rsplit(' ', 1)[1]):.9g}" if "_sum" in line else line for line in lines
    ]


@given(st.lists(st.lists(amounts, max_size=20), max_size=5))
def test_a_tally_is_a_histogram(rounds: List[List[float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally, reference = Tally(histogram(ours)), histogram(theirs)
    for amounts in rounds:
        for amount in amounts:
            tally.observe(amount)
            reference.observe(amount)
        tally.flush()
        assert exposed(ours) == exposed(theirs)


@given(st.lists(st.integers(0, 20), max_size=6))
def test_a_count_is_a_counter(rounds: List[int]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    count, reference = Count(Counter("c", "Text.", registry=ours)), Counter("c", "Text.", registry=theirs)
    for times in rounds:
        for _ in range(times):
            count.inc()
            reference.inc()
        count.flush()
        assert exposed(ours) == exposed(theirs)
