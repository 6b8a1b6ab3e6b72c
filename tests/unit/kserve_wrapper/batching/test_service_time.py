"""What is foreseen from the latest upstream requests."""

from __future__ import annotations

from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.batching.service_time import Sample, ServiceTime

SAMPLES = st.builds(
    lambda seconds, rows, waiting: Sample(seconds, rows, rows + waiting),
    st.floats(0.0001, 100.0),
    st.integers(0, 256),
    st.integers(0, 2048),
)


def learned(samples: List[Sample]) -> ServiceTime:
    estimate = ServiceTime()
    for sample in samples:
        estimate.learn(sample)
    return estimate


@given(st.lists(SAMPLES, max_size=1), st.integers(0, 10**6))
def test_nothing_is_foreseen_from_less_than_two(samples: List[Sample], backlog: int) -> None:
    assert learned(samples).seconds(backlog) == 0.0


@given(st.lists(SAMPLES, max_size=20), st.integers(0, 5000), st.integers(0, 5000))
def test_a_longer_backlog_never_takes_less(samples: List[Sample], backlog: int, more: int) -> None:
    estimate = learned(samples)
    assert 0.0 <= estimate.seconds(backlog) <= estimate.seconds(backlog + more)


@given(st.lists(SAMPLES, min_size=2, max_size=20), st.integers(0, 5000))
def test_no_row_counts_for_more_than_the_slowest_of_the_latest(samples: List[Sample], backlog: int) -> None:
    latest = [sample for sample in samples if sample.rows][-8:]
    slowest = max([sample.seconds / sample.rows for sample in latest], default=0.0)
    assert learned(samples).seconds(backlog) <= backlog * slowest * (1 + 1e-9)


@given(st.lists(st.integers(1, 100), min_size=2, max_size=20), st.integers(0, 5000))
def test_at_a_steady_estimate_a_backlog_takes_its_rows(sizes: List[int], backlog: int) -> None:
    estimate = learned([Sample(0.01 * rows, rows, rows) for rows in sizes])
    assert estimate.seconds(backlog) == pytest.approx(0.01 * min(backlog, 3 * max(sizes[-8:])))


def test_one_that_was_slow_is_no_estimate() -> None:
    estimate = learned([*[Sample(0.1, 10, 10)] * 3, Sample(50.0, 10, 10), *[Sample(0.1, 10, 10)] * 2])
    assert estimate.seconds(10) == pytest.approx(0.1)


def test_a_estimate_that_changed_is_learned() -> None:
    estimate = learned([*[Sample(5.0, 1, 1)] * 100, *[Sample(0.1, 1, 1)] * 8])
    assert estimate.seconds(1) == pytest.approx(0.1)
