"""Figures by model add up, over batches and over processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.telemetry.statistics import Statistics

batches = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4), st.floats(0, 9), st.floats(0, 9)), max_size=8)


@given(batches)
def test_batches_add_up(answered: List[Tuple[int, int, float, float]]) -> None:
    statistics = Statistics()
    for rows, requests, waited, seconds in answered:
        statistics.answered("m", "1", rows, requests, waited, seconds)
    told = statistics.of("m", "1", default=True)
    assert (told.executions, told.rows) == (len(answered), sum(batch[0] for batch in answered))
    assert told.requests == sum(batch[1] for batch in answered)
    assert told.upstream_seconds == pytest.approx(sum(batch[1] * batch[3] for batch in answered))
    assert sum(rows * count for rows, (count, _) in told.batches.items()) == told.rows


def test_what_no_version_was_known_for_is_the_default_ones() -> None:
    statistics = Statistics()
    statistics.answered("m", None, 1, 1, 0, 1)
    assert statistics.of("m", "1", default=True).rows == 1
    assert statistics.of("m", "2", default=False).rows == 0


def test_processes_tell_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Statistics(str(tmp_path)), Statistics(str(tmp_path))
    first.answered("m", "1", 2, 1, 0.5, 0.25)
    first.failed("m", "1", 0.125)
    first.flush()
    monkeypatch.setattr(os, "getpid", lambda: 4711)
    second.answered("m", "1", 2, 3, 1.5, 0.75)
    second.flush()
    told = second.of("m", "1", default=True)
    assert (told.rows, told.requests, told.failed, told.waited) == (4, 4, 1, 2.0)
    assert told.batches == {2: (2, 1.0)}
