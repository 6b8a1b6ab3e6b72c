"""Threads and batch sizes that are measured at load: with models whose times are known."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnist_handler.compute import fit
from mnist_handler.compute.cpu_share import share
from mnist_handler.compute.engine import Engine
from mnist_handler.compute.fit import best_size, fit_threads, paying_sizes
from tests.unit.mnist_handler.conftest import start


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model(seconds: Dict[int, float]) -> Callable[[], None]:
    """Takes the seconds of the number of threads that it is called with."""
    return lambda: time.sleep(seconds[torch.get_num_threads()])


def test_threads_that_pay_are_kept_and_told() -> None:
    told = fit_threads(model({1: 0.04, 2: 0.02}), wanted=0, most=2)
    assert torch.get_num_threads() == 2
    assert told is not None
    assert told.endswith("threads: 2 threads an operator")


@pytest.mark.parametrize("many", [0.02, 0.5], ids=["no quicker", "stalled by others"])
def test_threads_that_do_not_pay_are_not_taken(many: float) -> None:
    begin = time.perf_counter()
    assert fit_threads(model({1: 0.02, 2: many}), wanted=0, most=2) is not None
    assert torch.get_num_threads() == 1
    assert time.perf_counter() - begin < 20 * max(many, 0.1)  # no more calls than its time allows


@pytest.mark.parametrize("why", ["set", "environment", "no more processors", "quick"])
def test_who_is_not_measured(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "environment":
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
    calls: List[int] = []
    call = model({1: 0.0 if why == "quick" else 0.04, 2: 0.0})

    def counted() -> None:
        calls.append(torch.get_num_threads())
        call()

    told = fit_threads(
        counted,
        wanted=1 if why == "set" else 0,
        most=1 if why == "no more processors" else 2,
    )
    assert told is None
    assert set(calls) <= {1}
    assert torch.get_num_threads() == 1


def test_a_slow_models_sizes_end_where_twice_the_rows_take_twice_as_long() -> None:
    seconds = {1: 0.03, 2: 0.04, 4: 0.06, 8: 0.10, 16: 0.20, 32: 0.40}
    times = paying_sizes(seconds.__getitem__, range(1, 33), 60)
    assert list(times) == [1, 2, 4, 8, 16, 32]
    assert best_size(times) == 8


def test_one_size_that_was_disturbed_ends_nothing() -> None:
    times = paying_sizes({1: 0.03, 2: 0.08, 4: 0.06, 8: 0.12, 16: 0.24}.__getitem__, range(1, 17), 60)
    assert list(times) == [1, 2, 4, 8, 16]
    assert best_size(times) == 4


def test_a_quick_model_is_measured_with_one_row_alone() -> None:
    times = paying_sizes({1: 0.0005}.__getitem__, range(1, 65), 60)
    assert list(times) == [1]
    assert best_size(times) is None


def test_the_time_ends_it() -> None:
    """16 rows would take four calls of what 8 suggest, which is more than there is."""
    times = paying_sizes({1: 1.0, 2: 1.6, 4: 2.4, 8: 4.0}.__getitem__, range(1, 33), 30)
    assert list(times) == [1, 2, 4, 8]
    assert best_size(times) is None  # it may grow beyond


@given(st.lists(st.floats(0.002, 1.0), min_size=1, max_size=8), st.floats(0.0, 20.0))
def test_what_pays_was_tried_and_is_the_least(rates: List[float], seconds: float) -> None:
    """For any times whatever: within the sizes, and no smaller size answers as many rows a second."""
    sizes = [1 << place for place in range(len(rates))]
    by_size = {size: rate * size for size, rate in zip(sizes, rates)}
    tried: List[int] = []

    def warm(size: int) -> float:
        tried.append(size)
        return by_size[size]

    times = paying_sizes(warm, sizes, seconds)
    assert tried == list(times) == sizes[: len(tried)]
    best = best_size(times)
    if best is not None:
        assert best in tried[:-1]
        assert all(by_size[best] / best < by_size[size] / size for size in tried if size < best)


class Slow(torch.nn.Module):
    """3 ms a batch and 2 ms a row."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        time.sleep(0.003 + 0.002 * len(rows))
        return rows.sum(1, keepdim=True)


def test_an_engine_gives_up_what_does_not_pay_and_still_answers_any_number_of_rows() -> None:
    engine = Engine([Slow()], 64, range(1, 65))
    assert engine.warm_up([torch.ones(1, 3)], 10.0, fit=True) == []
    assert engine.best_size is not None
    assert 4 <= engine.best_size <= 32
    rows = torch.arange(150.0).reshape(50, 3)
    scores = engine.run([rows]).scores
    assert isinstance(scores, torch.Tensor)
    assert torch.equal(scores, rows.sum(1, keepdim=True))


@pytest.mark.parametrize("fitted", [False, True])
def test_sizes_that_are_set_and_quick_models_keep_all(fitted: bool) -> None:
    engine = Engine([Slow() if not fitted else torch.nn.Identity()], 16, [1, 8, 16])
    engine.warm_up([torch.ones(1, 3)], 10.0, fit=fitted)
    assert engine.best_size is None
    assert engine._sizes == [1, 8, 16]


def test_a_tiny_models_load_measures_nothing(
    archive: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MNIST: no line, no thread more, and nothing for the wrapper in the metadata."""
    monkeypatch.setattr(fit, "SLOW", 0.1)  # whatever else runs here meanwhile
    caplog.set_level(logging.INFO)
    handler = start(archive, {})
    assert "fitted to this model" not in caplog.text
    assert "preferred_batch_size" not in handler.describe_handle()


def test_a_slow_models_load_tells_what_was_found(
    archive: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "SLOW", 0.0)
    monkeypatch.setattr(fit, "_WORTH", 1e9)  # nothing ever pays
    monkeypatch.setattr(fit, "share", lambda: 2)
    caplog.set_level(logging.INFO)
    handler = start(archive, {})
    (line,) = [record.getMessage() for record in caplog.records if "fitted to this model" in record.getMessage()]
    assert "1 threads an operator" in line
    assert line.endswith("more than 1 rows at a time bring no more")
    # As many as are decoded at a time.
    assert handler.describe_handle()["preferred_batch_size"] == share()
