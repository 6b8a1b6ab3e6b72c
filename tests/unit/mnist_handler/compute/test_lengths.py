"""Sub-batches of rows of like lengths: where they are cut, and that every row has the answer that it has alone."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any, List, Tuple, Type

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnist_handler import InputSpec, InputValues, OutputSpec, Request, RowHandler
from mnist_handler.compute.engine import NO_MEMORY, Engine
from mnist_handler.compute.lengths import ByLength, call_cost, cheapest, takes_any_length
from mnist_handler.inputs.collate import mask_of
from mnist_handler.requests import Answer
from tests.unit.mnist_handler.conftest import start
from tests.unit.mnist_handler.helpers import ask, ask_one, refusal

LENGTHS = st.lists(st.integers(1, 40), min_size=2, max_size=8)
ROWS = InputSpec("rows", "FP32", (-1,), pad=-1, buckets=(8, 16, 64), companion="mask")
SIZES = InputSpec("sizes", "FP32", (-1,), pad=-1, companion="lengths")


def cost_of(lengths: Any, spans: List[Tuple[int, int]], cost: float) -> float:
    return sum(cost + (stop - start) * float(lengths[start:stop].max(0).sum()) for start, stop in spans)


@given(LENGTHS, st.floats(0, 100), st.integers(1, 8))
def test_no_other_way_to_cut_is_cheaper(lengths: List[int], cost: float, limit: int) -> None:
    rows = np.sort(np.array(lengths))[:, None]
    spans = cheapest(rows, cost, limit)
    assert [row for start, stop in spans for row in range(start, stop)] == list(range(len(rows)))
    assert max(stop - start for start, stop in spans) <= limit
    cuts = (itertools.combinations(range(1, len(rows)), count) for count in range(len(rows)))
    ways = [list(itertools.pairwise((0, *some, len(rows)))) for some in itertools.chain.from_iterable(cuts)]
    fitting = [way for way in ways if max(stop - start for start, stop in way) <= limit]
    assert cost_of(rows, spans, cost) <= min(cost_of(rows, way, cost) for way in fitting) + 1e-6


def test_a_dear_call_keeps_rows_together_and_a_cheap_one_parts_them() -> None:
    lengths = np.array([[40], [3], [4], [40]])
    assert ByLength([ROWS], False, cost=1e6).plan(lengths, 64) is None
    assert ByLength([ROWS], False).plan(lengths, 64) is None
    plan = ByLength([ROWS], False, cost=10).plan(lengths, 64)
    assert plan is not None
    assert (plan.order.tolist(), plan.spans, plan.sizes) == ([1, 2, 0, 3], [(0, 2), (2, 4)], [[4, 4], [40, 40]])
    to_buckets = ByLength([ROWS], True, cost=10).plan(lengths, 64)
    assert to_buckets is not None
    assert to_buckets.sizes == [[8, 8], [64, 64]]


def model(rows: torch.Tensor, mask: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Each row's mean, and its values doubled."""
    seen.append(tuple(rows.shape))
    return (rows * mask).sum(1) / mask.sum(1), rows * mask * 2


seen: List[Tuple[int, ...]] = []


def arguments(lengths: List[int]) -> Tuple[torch.Tensor, torch.Tensor]:
    rows = torch.full((len(lengths), max(lengths)), -1.0)
    for row, length in enumerate(lengths):
        rows[row, :length] = torch.arange(length) + 100.0 * row
    return rows, torch.from_numpy(mask_of(np.array(lengths), max(lengths)))


@given(LENGTHS, st.floats(0, 60), st.integers(1, 8))
def test_in_sub_batches_as_together(lengths: List[int], cost: float, limit: int) -> None:
    rows = arguments(lengths)
    engine = Engine([model], limit)
    plan = ByLength([ROWS], False, cost).plan(np.array(lengths)[:, None], limit)
    for one, other in zip(engine.run(rows, plan=plan).scores or (), model(*rows)):
        torch.testing.assert_close(one, other)


def test_a_row_that_has_no_room_is_named_in_its_own_place() -> None:
    def full(rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if rows.shape[1] > 30:
            raise MemoryError
        return rows.sum(1)

    lengths = [3, 40, 2, 4]
    plan = ByLength([ROWS], False, 1).plan(np.array(lengths)[:, None], 8)
    outcome = Engine([full], 8).run(arguments(lengths), plan=plan)
    assert outcome.failed == {1: NO_MEMORY}
    assert isinstance(outcome.scores, torch.Tensor)
    assert outcome.scores.tolist() == [3, 0, 401, 1206]


def test_what_a_call_costs_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnist_handler.compute.lengths.time_calls", lambda forward, given: forward(*given))

    def example(rows: int, length: int = 1) -> List[torch.Tensor]:
        return [torch.zeros(rows, length), torch.ones(rows, length)]

    positions = ByLength([ROWS], False).positions
    assert positions(example(3, 5)) == 15
    assert call_cost(lambda rows, mask: 0.005 + 1e-4 * rows.numel(), example, positions) == pytest.approx(50)
    # Too short to tell; then long enough.
    assert call_cost(lambda rows, mask: 0.1 + 1e-5 * rows.numel(), example, positions) == pytest.approx(1e4)
    assert call_cost(lambda rows, mask: 0.1 + 1e-5 * rows.numel(), example, positions, 64) == float("inf")
    assert call_cost(lambda rows, mask: 1e-9 * rows.numel(), example, positions) == float("inf")

    def short(rows: torch.Tensor, mask: torch.Tensor) -> float:
        if rows.shape[1] > 64:
            raise IndexError("index out of range in self")
        return 0.1

    assert call_cost(short, example, positions) == float("inf")


def test_which_modes_take_any_length() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    modes = ("ahead", "none", "torchscript", "inductor", "cuda_graph")
    assert [mode for mode in modes if takes_any_length(mode, cpu)] == ["ahead", "none"]
    assert not any(takes_any_length(mode, gpu) for mode in modes)


class Slow(RowHandler):
    """A model that needs a millisecond for each position, and 20 for a call."""

    inputs: Tuple[InputSpec, ...] = (ROWS, SIZES)
    outputs = (OutputSpec("mean", "FP32", ()), OutputSpec("doubled", "FP32", (-1,), like="rows"))

    def load(self, context: Any) -> Any:
        def slow(*given: torch.Tensor) -> Any:
            rows, mask, sizes, lengths = given
            shapes.append((tuple(rows.shape), tuple(sizes.shape)))
            time.sleep(0.02 + 0.001 * (rows.numel() + sizes.numel()))
            beside = torch.arange(sizes.shape[1]) < lengths[:, None]
            return (rows * mask).sum(1) / mask.sum(1) + (sizes * beside).sum(1), rows * mask * 2

        return slow


shapes: List[Any] = []


def serve(folder: Path, kind: Type[RowHandler]) -> RowHandler:
    return start(folder, {"max_batch_size": 8}, kind, model_file="", weights=None)


def request(*rows: Tuple[List[float], List[float]]) -> Request:
    return Request([("rows", InputValues([one for one, _ in rows])), ("sizes", InputValues([one for _, one in rows]))])


def test_a_slow_models_ragged_rows_go_by_length(tmp_path: Path) -> None:
    handler = serve(tmp_path, Slow)
    requests = [request(([1] * 60, [1]), ([2, 3], [4])), request(([5], [6, 7])), request(([8] * 64, [9, 1]))]
    shapes.clear()
    together = ask(handler, *requests)
    assert sorted(shapes) == [((2, 2), (2, 2)), ((2, 64), (2, 2))]
    for one, answer in zip(requests, together):
        alone = ask_one(handler, one)
        assert isinstance(answer, Answer)
        assert np.asarray(answer.outputs["mean"]).tolist() == np.asarray(alone.outputs["mean"]).tolist()
        assert answer.outputs["doubled"].by_row() == alone.outputs["doubled"].by_row()  # type: ignore[union-attr]


def test_inputs_that_are_filled_up_may_come_in_several_tensors(tmp_path: Path) -> None:
    """As the wrapper sends rows of several clients to a model of several inputs."""
    handler = serve(tmp_path, Slow)
    assert "ragged_inputs" in handler.describe_handle()["extensions"]
    rows = [np.ones((2, 5), np.float32), np.full((1, 2), 4, np.float32)]
    sizes = [np.ones((1, 1), np.float32), np.full((2, 3), 2, np.float32)]
    inputs = [("rows", InputValues(rows[0])), ("sizes", InputValues(sizes[0]))]
    inputs += [("rows", InputValues(rows[1])), ("sizes", InputValues(sizes[1]))]
    outputs = ask_one(handler, Request(inputs)).outputs
    assert np.asarray(outputs["mean"]).tolist() == [2, 7, 10]
    assert outputs["doubled"].by_row() == [[2] * 5, [2] * 5, [8] * 2]  # type: ignore[union-attr]
    assert "unequally many rows" in refusal(handler, Request(inputs[:3])).message


def test_an_input_of_any_length_that_is_not_filled_up_keeps_requests_apart(tmp_path: Path) -> None:
    class Open(Slow):
        inputs = (ROWS, InputSpec("sizes", "FP32", (-1,)))

        def load(self, context: Any) -> Any:
            return lambda rows, mask, sizes: ((rows * mask).sum(1), rows * mask)

    handler = serve(tmp_path, Open)
    assert "ragged_inputs" not in handler.describe_handle()["extensions"]
    one = InputValues(np.ones((1, 2), np.float32))
    twice = Request([("rows", one), ("sizes", one), ("sizes", one)])
    assert "input sizes more than once" in refusal(handler, twice).message


class SeeEachOther(Slow):
    independent_rows = False


class FillsUpItself(Slow):
    def collate(self, spec: InputSpec, chunks: Any) -> Any:
        return super().collate(spec, chunks)


@pytest.mark.parametrize("kind", [SeeEachOther, FillsUpItself])
def test_rows_stay_together_where_parting_them_could_change_answers(kind: Type[RowHandler], tmp_path: Path) -> None:
    handler = serve(tmp_path, kind)
    shapes.clear()
    ask_one(handler, request(([1] * 60, [1]), ([2, 3], [4])))
    assert shapes == [((2, 60), (2, 1))]
