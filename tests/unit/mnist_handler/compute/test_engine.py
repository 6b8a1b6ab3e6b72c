from __future__ import annotations

import gc
import time
import weakref
from typing import List, Optional, Sequence, Tuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnist_handler.compute import engine
from mnist_handler.compute.engine import NO_MEMORY, Engine, default_sizes, spread


class Device:
    """A model of x -> 2x + 1 whose memory holds ``room`` rows, and no row with a negative value."""

    def __init__(self, room: int, error: Optional[Exception] = None) -> None:
        self.room = room
        self.error = error or torch.cuda.OutOfMemoryError("CUDA out of memory")
        self.calls: List[int] = []

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(rows))
        if len(rows) > self.room or (rows < 0).any():
            raise self.error
        return rows * 2 + 1


def values(rows: int) -> torch.Tensor:
    return torch.arange(rows, dtype=torch.float32)[:, None]


@given(st.integers(1, 70), st.integers(1, 32), st.integers(1, 32), st.sets(st.integers(1, 32), max_size=6))
def test_every_row_gets_its_own_answer(rows: int, limit: int, room: int, sizes: set[int]) -> None:
    device = Device(room)
    warm = sorted({min(size, limit) for size in sizes} | {1}) if sizes else None
    outcome = Engine([device], limit, warm).run([values(rows)])
    assert outcome.failed == {}
    assert outcome.scores is not None
    assert torch.equal(outcome.scores, values(rows) * 2 + 1)
    assert max(device.calls) <= limit
    if warm:
        assert set(device.calls) <= set(warm)


@given(st.sets(st.integers(0, 19)), st.integers(1, 8))
def test_only_what_cannot_run_alone_fails(heavy: set[int], limit: int) -> None:
    inputs = values(20)
    for row in heavy:
        inputs[row] = -1
    outcome = Engine([Device(4)], limit).run([inputs])
    assert outcome.failed == dict.fromkeys(heavy, NO_MEMORY)
    for row in set(range(20)) - heavy:
        assert outcome.scores is not None
        assert outcome.scores[row].item() == row * 2 + 1
    assert (outcome.scores is None) == (len(heavy) == 20)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_whoever_runs_out_is_understood(error: Exception) -> None:
    outcome = Engine([Device(2, error)], 16).run([values(9)])
    assert outcome.scores is not None
    assert torch.equal(outcome.scores, values(9) * 2 + 1)


def test_a_bug_is_not_swallowed() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        Engine([Device(2, RuntimeError("shapes differ"))], 16).run([values(9)])


@given(st.integers(1, 4096))
def test_default_sizes_waste_little(limit: int) -> None:
    sizes = default_sizes(limit)
    assert sizes[0] == 1
    assert sizes[-1] == limit
    assert all(low < high and high - low <= max(1, low / 8) for low, high in zip(sizes, sizes[1:]))


def test_warm_up_runs_every_size_of_every_form() -> None:
    first, second = Device(100), Device(100)
    Engine([first, second], 8, [1, 2, 8]).warm_up([values(1)])
    assert set(first.calls) == set(second.calls) == {1, 2, 8}
    assert min(first.calls.count(size) for size in (1, 2, 8)) >= 2


def test_graphs_warm_up_from_the_largest_down() -> None:
    """Their memory is one pool; other forwards begin with one row, which tells how long the others will take."""

    class Graphs(Device):
        def padded(self, inputs: Sequence[torch.Tensor], size: int) -> torch.Tensor:
            return self(*inputs)

    for device, order in ((Graphs(100), [8, 2, 1]), (Device(100), [1, 8, 2])):
        Engine([device], 8, [1, 2, 8]).warm_up([values(1)])
        assert list(dict.fromkeys(device.calls)) == order


class PadsItself(Device):
    def __init__(self) -> None:
        super().__init__(100)
        self.padded_to: List[Tuple[int, int]] = []

    def padded(self, inputs: Sequence[torch.Tensor], size: int) -> torch.Tensor:
        self.padded_to.append((len(inputs[0]), size))
        return inputs[0] * 2 + 1


def test_a_forward_that_pads_itself_gets_the_rows_alone() -> None:
    device = PadsItself()
    outcome = Engine([device], 4, [1, 2, 4]).run([values(11)])
    assert outcome.scores is not None
    assert torch.equal(outcome.scores, values(11) * 2 + 1)
    assert device.padded_to == [(4, 4), (4, 4), (3, 4)]
    assert device.calls == []


def test_warm_up_has_tensors_like_a_requests() -> None:
    seen: List[Tuple[bool, bool]] = []

    def model(rows: torch.Tensor) -> torch.Tensor:
        seen.append((rows.is_inference(), rows.is_contiguous()))
        return rows

    Engine([model], 4, [1, 2, 4]).warm_up([values(1)])
    assert set(seen) == {(True, True)}


@given(st.lists(st.integers(1, 4096), unique=True).map(sorted))
def test_every_size_is_warmed_once_and_the_ends_first(sizes: List[int]) -> None:
    order = spread(sizes)
    assert sorted(order) == sizes
    assert set(order[:2]) == set(sizes[:1] + sizes[-1:])


class Clock:
    """Time that passes where the test says so: a busy machine changes nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


def test_warming_up_ends_in_time(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A model of 2 ms a row: 45 sizes of up to 64 rows would take seconds, half of one is given."""

    def slow(rows: torch.Tensor) -> torch.Tensor:
        clock.now += 0.002 * len(rows)
        seen.append(len(rows))
        return rows

    seen: List[int] = []
    engine = Engine([slow], 64, default_sizes(64))
    clock = Clock(monkeypatch)
    cold = engine.warm_up([values(1)], 0.5)
    assert clock.now < 1
    assert cold
    assert 64 not in cold
    assert f"{len(cold)} batch sizes stay cold" in caplog.text
    seen.clear()
    for rows in (1, 2, 33, 64, 100):
        scores = engine.run([values(rows)]).scores
        assert scores is not None
        assert torch.equal(scores, values(rows))
    assert not set(seen) & set(cold)


def test_a_long_warming_up_is_told_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Also while a single call lasts."""
    monkeypatch.setattr(engine, "_TELL_FIRST", 0.01)
    monkeypatch.setattr(engine, "_TELL", 0.01)

    def slow(rows: torch.Tensor) -> torch.Tensor:
        end = time.monotonic() + 60
        while "warming, 0 s of at most 90" not in caplog.text and time.monotonic() < end:
            time.sleep(0.01)
        return rows

    with caplog.at_level("INFO"):
        Engine([slow], 4, [1]).warm_up([values(1)], 90)
    assert "warming, 0 s of at most 90" in caplog.text


def test_without_time_one_row_is_warm() -> None:
    engine = Engine([lambda rows: rows], 8, [1, 2, 8])
    assert engine.warm_up([values(1)], 0) == [2, 8]
    scores = engine.run([values(5)]).scores
    assert scores is not None
    assert torch.equal(scores, values(5))


def test_where_any_size_is_warm_a_slow_model_is_measured_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def slow(rows: torch.Tensor) -> torch.Tensor:
        clock.now += 0.004 * len(rows)  # more rows at once bring nothing
        return rows

    clock = Clock(monkeypatch)
    fitted = Engine([slow], 64, [1, 2, 4, 8, 64], pads=False)
    with caplog.at_level("INFO"):
        assert fitted.warm_up([values(1)], fit=True) == []
    assert fitted.best_size == 1
    assert "batches of any number of rows" in caplog.text
    assert torch.equal(Engine([slow], 64, [4], pads=False).run([values(3)]).scores, values(3))  # type: ignore[arg-type]


def test_a_form_that_no_size_uses_is_let_go() -> None:
    class Form:
        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        def __call__(self, rows: torch.Tensor) -> torch.Tensor:
            time.sleep(self.seconds)
            return rows * 2

    slow, quick = Form(0.02), Form(0.0)
    seen = weakref.ref(slow)
    running = Engine([slow, quick], 4, [1, 2, 4])
    running.warm_up([torch.ones(1, 3)])
    del slow
    gc.collect()
    assert seen() is None
    scores = running.run([torch.ones(3, 3)]).scores
    assert isinstance(scores, torch.Tensor)
    assert torch.equal(scores, torch.full((3, 3), 2.0))
