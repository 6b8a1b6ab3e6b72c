"""``ts-kserve bench``: what a round's line says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.commands.bench import HEAD, Round, percentile


def test_a_round_without_an_answer_has_no_latencies() -> None:
    failed = Round(8, 2.0, failures=["500: no"] * 453)
    assert failed.line().split() == ["8", "0.0", "-", "-", "-", "453"]
    answered = Round(8, 2.0, latencies=[0.001, 0.002])
    assert answered.line().split() == ["8", "1.0", "1.00", "2.00", "2.00", "0"]
    assert len(failed.line()) == len(answered.line()) == len(HEAD)


@given(values=st.lists(st.floats(0, 10), min_size=1), share=st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_the_least_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert sum(value <= found for value in values) >= share * len(values)
    assert all(sum(value <= less for value in values) < share * len(values) for less in values if less < found)
