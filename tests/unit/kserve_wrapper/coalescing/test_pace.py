"""What is known of a model's pace, for any order of batches that go out and come back."""

from __future__ import annotations

from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.pace import Pace


def test_nothing_is_expected_before_a_first_answer_or_while_nothing_is_under_way() -> None:
    pace = Pace()
    assert pace.expected() is None
    pace.sent(10.0, workers=1)
    assert pace.expected() is None
    pace.answered(10.5)
    assert pace.expected() is None
    pace.sent(20.0, workers=1)
    assert pace.expected() == 20.5


def test_a_batch_that_was_ahead_counts_from_the_answer_before_it() -> None:
    pace = Pace()
    pace.sent(0.0, workers=1)
    pace.sent(0.9, workers=1)
    pace.answered(1.0)
    assert pace.expected() == 2.0
    pace.answered(2.0)
    pace.sent(5.0, workers=1)
    assert pace.expected() == 6.0


def test_the_pace_follows_a_model_that_changes() -> None:
    pace = Pace()
    for start in range(100):
        pace.sent(start, workers=1)
        pace.answered(start + (0.1 if start < 50 else 0.4))
    pace.sent(100.0, workers=1)
    assert pace.expected() == pytest.approx(100.4, abs=1e-3)


@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.floats(0.001, 10.0)), max_size=60))
def test_expected_lies_between_the_oldest_start_and_the_longest_batch(
    workers: int, steps: List[tuple[bool, float]]
) -> None:
    pace, now, under_way, longest, answered = Pace(), 0.0, 0, 0.0, False
    for send, seconds in steps:
        now += seconds
        longest += seconds
        if send and under_way <= workers:
            pace.sent(now, workers)
            under_way += 1
        elif under_way:
            pace.answered(now)
            under_way -= 1
            answered = True
        expected = pace.expected()
        assert (expected is None) == (not answered or not under_way)
        if expected is not None:
            assert 0.0 < expected <= now + longest
