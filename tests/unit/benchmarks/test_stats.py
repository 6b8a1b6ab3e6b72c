"""Medians, spreads, percentiles, ratios, bends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.stats import bend, interleaved, paired_ratio, percentile, spread

NUMBERS = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=50)


def test_spread_of_three_rounds() -> None:
    found = spread([3.0, 1.0, 2.0])
    assert (found.median, found.low, found.high, found.rounds, found.relative) == (2.0, 1.0, 3.0, 3, 1.0)


def test_a_spread_needs_a_round() -> None:
    with pytest.raises(ValueError, match="at least one"):
        spread([])


@given(NUMBERS)
def test_percentile_is_the_smallest_value_that_enough_values_do_not_exceed(values: list[float]) -> None:
    for percent in (0, 1, 50, 90, 99, 100):
        found = percentile(values, percent)
        assert found in values
        assert sum(value <= found for value in values) >= len(values) * percent / 100
        assert sum(value < found for value in values) <= len(values) * percent / 100


def test_percentiles_of_a_hundred() -> None:
    values = list(range(1, 101))
    assert [percentile(values, percent) for percent in (0, 50, 90, 99, 100)] == [1, 50, 90, 99, 100]


@pytest.mark.parametrize("percent", [-1, 101])
def test_percentile_refuses(percent: float) -> None:
    with pytest.raises(ValueError, match="0 to 100"):
        percentile([1.0], percent)


@given(NUMBERS, st.floats(0.1, 10))
def test_a_disturbance_of_a_whole_round_cancels_in_its_ratio(theirs: list[float], factor: float) -> None:
    ours = [value * factor for value in theirs]
    found = paired_ratio(ours, theirs)
    assert found.low == pytest.approx(factor)
    assert found.high == pytest.approx(factor)


def test_ratios_need_pairs() -> None:
    with pytest.raises(ValueError, match="pairs"):
        paired_ratio([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="zero"):
        paired_ratio([1.0], [0.0])


def test_bend_is_where_most_of_the_growth_has_been_had() -> None:
    assert bend([1, 2, 4, 8, 16], [100, 200, 390, 430, 440]) == 8
    assert bend([1, 2, 4], [100, 200, 400]) == 4
    assert bend([1, 2, 4], [400, 300, 410]) == 1
    with pytest.raises(ValueError, match="as many"):
        bend([1], [])


@given(st.lists(st.text(), min_size=1, max_size=8, unique=True))
def test_every_server_comes_first_once(names: list[str]) -> None:
    orders = [interleaved(names, number) for number in range(len(names))]
    assert [order[0] for order in orders] == names
    assert all(sorted(order) == sorted(names) for order in orders)
