"""What is foreseen from the latest upstream requests."""

from __future__ import annotations

from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.batching.service_time import Sample, ServiceTime

FLIGHTS = st.builds(
    lambda seconds, rows, waiting: Sample(seconds, rows, rows + waiting),
    st.floats(0.0001, 100.0),
    st.integers(0, 256),
    st.integers(0, 2048),
)


def learned(flights: List[Sample]) -> ServiceTime:
    pace = ServiceTime()
    for flight in flights:
        pace.learn(flight)
    return pace


@given(st.lists(FLIGHTS, max_size=1), st.integers(0, 10**6))
def test_nothing_is_foreseen_from_less_than_two(flights: List[Sample], line: int) -> None:
    assert learned(flights).seconds(line) == 0.0


@given(st.lists(FLIGHTS, max_size=20), st.integers(0, 5000), st.integers(0, 5000))
def test_a_longer_line_never_takes_less(flights: List[Sample], line: int, more: int) -> None:
    pace = learned(flights)
    assert 0.0 <= pace.seconds(line) <= pace.seconds(line + more)


@given(st.lists(FLIGHTS, min_size=2, max_size=20), st.integers(0, 5000))
def test_no_row_counts_for_more_than_the_slowest_of_the_latest(flights: List[Sample], line: int) -> None:
    latest = [flight for flight in flights if flight.rows][-8:]
    slowest = max([flight.seconds / flight.rows for flight in latest], default=0.0)
    assert learned(flights).seconds(line) <= line * slowest * (1 + 1e-9)


@given(st.lists(st.integers(1, 100), min_size=2, max_size=20), st.integers(0, 5000))
def test_at_a_steady_pace_a_line_takes_its_rows(sizes: List[int], line: int) -> None:
    pace = learned([Sample(0.01 * rows, rows, rows) for rows in sizes])
    assert pace.seconds(line) == pytest.approx(0.01 * min(line, 3 * max(sizes[-8:])))


def test_one_that_was_slow_is_no_pace() -> None:
    pace = learned([*[Sample(0.1, 10, 10)] * 3, Sample(50.0, 10, 10), *[Sample(0.1, 10, 10)] * 2])
    assert pace.seconds(10) == pytest.approx(0.1)


def test_a_pace_that_changed_is_learned() -> None:
    pace = learned([*[Sample(5.0, 1, 1)] * 100, *[Sample(0.1, 1, 1)] * 8])
    assert pace.seconds(1) == pytest.approx(0.1)
