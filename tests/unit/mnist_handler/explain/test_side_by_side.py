"""Two chunks of work at once, and where there are processors for them."""

from __future__ import annotations

import threading

import pytest
import torch

from mnist_handler.compute import device
from mnist_handler.explain.side_by_side import TwoWayRun


def test_both_run_at_once() -> None:
    meeting = threading.Barrier(2, timeout=30)
    places = TwoWayRun().run(meeting.wait, meeting.wait)
    assert sorted(places) == [0, 1]


def test_results_keep_their_order() -> None:
    pair = TwoWayRun()
    assert [pair.run(lambda: "first", lambda: "second") for _ in range(3)] == 3 * [["first", "second"]]


@pytest.mark.parametrize("fails", ["first", "second", "both"])
def test_an_error_is_raised_when_both_have_ended(fails: str) -> None:
    ended = []

    def work(name: str) -> None:
        ended.append(name)
        if fails in (name, "both"):
            raise ValueError(name)

    pair = TwoWayRun()
    with pytest.raises(ValueError, match="second" if fails == "second" else "first"):
        pair.run(lambda: work("first"), lambda: work("second"))
    assert sorted(ended) == ["first", "second"]
    assert pair.run(lambda: 1, lambda: 2) == [1, 2]


@pytest.mark.parametrize(
    ("kind", "processors", "threads", "leaves"),
    [("cpu", 2, 1, True), ("cpu", 3, 2, False), ("cpu", 4, 2, True), ("cpu", 1, 1, False), ("cuda", 64, 1, False)],
)
def test_processors_are_left_where_operators_take_half(
    kind: str, processors: int, threads: int, leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "usable", lambda: processors)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert device.leaves_processors(torch.device(kind)) is leaves
