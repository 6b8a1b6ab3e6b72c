"""Which measurements are repeated, by what was stolen while they ran."""

from __future__ import annotations

from typing import Iterator, List, Tuple

import pytest

from benchmarks import quiet
from benchmarks.quiet import Quiet, stolen_share


def machine(monkeypatch: pytest.MonkeyPatch, stolen: List[int], seconds: float = 10.0) -> None:
    """Measurements take ``seconds`` and 1,000 ticks; this many of them are stolen from each."""
    now, ticks = [0.0], [0, 0]
    left = iter(stolen)

    def reads() -> Iterator[Tuple[int, int]]:
        while True:
            yield ticks[0], ticks[1]
            ticks[0], ticks[1] = ticks[0] + next(left), ticks[1] + 1000
            now[0] += seconds
            yield ticks[0], ticks[1]

    times = reads()
    monkeypatch.setattr(quiet, "cpu_times", lambda: next(times))
    monkeypatch.setattr(quiet.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(quiet.time, "sleep", lambda pause: None)


def test_a_disturbed_measurement_is_repeated_until_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, [500, 21, 20])
    results = iter("abc")
    one = Quiet(patience=1000)
    assert one.run(lambda: next(results)) == "c"
    assert one.to_json() == {"most_stolen": 0.02, "repeated": 2, "disturbed": 0}


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, [500] * 9)
    results = iter("abcdefghi")
    one = Quiet(patience=25)
    assert [one.run(lambda: next(results)) for _ in range(2)] == ["d", "e"]
    assert one.to_json() == {"most_stolen": 0.02, "repeated": 3, "disturbed": 2}


def test_without_patience_all_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, [500, 0])
    one = Quiet(patience=0)
    assert [one.run(lambda: 7), one.run(lambda: 8)] == [7, 8]
    assert (one.repeated, one.disturbed) == (0, 1)


def test_the_machines_own_counts_only_grow() -> None:
    before = quiet.cpu_times()
    after = quiet.cpu_times()
    assert 0 <= before[0] <= after[0]
    assert before[1] <= after[1]
    assert 0.0 <= stolen_share(before, after) <= 1.0
