"""What counts as time that a process ran."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.core.clocks import RunningClock


@given(st.lists(st.floats(0, 1000), max_size=20), st.floats(0.1, 10))
def test_of_each_pause_no_more_counts_than_the_most(pauses: list[float], most: float) -> None:
    now = [5.0]
    clock = RunningClock(most, lambda: now[0])
    begin = clock()
    for pause in pauses:
        now[0] += pause
        clock()
    assert abs(clock() - begin - sum(min(pause, most) for pause in pauses)) < 1e-6
