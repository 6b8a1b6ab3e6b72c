"""What is known of a model's pace, for any order of batches that go out and come back."""

from __future__ import annotations

from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.pace import Pace


def sent(pace: Pace, now: float, workers: int = 1, kind: str = "predict") -> None:
    pace.sent(now, workers, kind)


def answered(pace: Pace, now: float, kind: str = "predict", typical: bool = True) -> None:
    pace.answered(now, kind, typical)


def test_nothing_is_expected_before_a_first_answer_or_while_nothing_is_under_way() -> None:
    pace = Pace()
    assert pace.expected() is None
    sent(pace, 10.0)
    assert pace.expected() is None
    answered(pace, 10.5)
    assert pace.expected() is None
    sent(pace, 20.0)
    assert pace.expected() == 20.5


def test_a_batch_that_was_ahead_counts_from_the_answer_before_it() -> None:
    pace = Pace()
    sent(pace, 0.0)
    sent(pace, 0.9)
    answered(pace, 1.0)
    assert pace.expected() == 2.0
    answered(pace, 2.0)
    sent(pace, 5.0)
    assert pace.expected() == 6.0


def test_the_pace_follows_a_model_that_changes() -> None:
    pace = Pace()
    for start in range(100):
        sent(pace, start)
        answered(pace, start + (0.1 if start < 50 else 0.4))
    sent(pace, 100.0)
    assert pace.expected() == pytest.approx(100.4, abs=1e-3)


def test_kinds_have_paces_of_their_own() -> None:
    pace = Pace()
    for kind, seconds in (("predict", 0.1), ("explain", 3.0)):
        sent(pace, 0.0, kind=kind)
        answered(pace, seconds, kind)
    sent(pace, 10.0, kind="explain")
    sent(pace, 12.9, kind="predict")
    assert pace.expected() == 13.0
    answered(pace, 13.0, "explain")
    assert pace.expected() == 13.1


def test_what_failed_says_nothing_of_the_next() -> None:
    pace = Pace()
    sent(pace, 0.0)
    answered(pace, 1.0)
    sent(pace, 2.0)
    answered(pace, 2.001, typical=False)
    sent(pace, 3.0)
    assert pace.expected() == 4.0


def test_a_batch_that_was_ahead_may_come_back_first() -> None:
    pace = Pace()
    sent(pace, 0.0, kind="explain")
    sent(pace, 0.5, kind="predict")
    answered(pace, 0.6, "predict", typical=False)
    answered(pace, 2.0, "explain")
    sent(pace, 5.0, kind="explain")
    assert pace.expected() == 7.0


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.floats(0.001, 10.0)), max_size=60))
def test_expected_keeps_to_what_was_seen(steps: List[Tuple[bool, int, float]]) -> None:
    """Batches of one kind, while workers come and go: against a list of all that is under way."""
    pace, now = Pace(), 0.0
    begun: List[float] = []
    ahead, seen = 0, []
    for send, workers, seconds in steps:
        now += seconds
        if send:
            pace.sent(now, workers, "predict")
            if len(begun) < workers:
                begun.append(now)
            else:
                ahead += 1
        elif begun:
            pace.answered(now, "predict", typical=True)
            seen.append(now - begun.pop(0))
            if ahead:
                ahead -= 1
                begun.append(now)
        expected = pace.expected()
        assert (expected is None) == (not seen or not begun)
        if expected is not None:
            assert begun[0] + min(seen) - 1e-9 <= expected <= begun[0] + max(seen) + 1e-9
