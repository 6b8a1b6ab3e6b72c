"""Rows of unequal lengths in sub-batches of like ones: what fills rows up costs as much as what they hold.

A batch takes about as long as it has positions (rows times their longest length), and a call costs some positions more,
whatever is in it. That is measured while the model loads; from then on each batch is cut where that is the cheapest.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, replace
from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np
import torch

from mnist_handler.compute.engine import Plan, time_calls
from mnist_handler.compute.fit import SLOW
from mnist_handler.inputs.collate import bucket
from mnist_handler.inputs.spec import InputSpec

logger = logging.getLogger(__name__)

Example = Callable[..., List[torch.Tensor]]
#: Rows and length of the short call and, to begin with, of the long one that are compared.
_SHORT, _LONG = (1, 8), (8, 20)
#: How many times longer the long call must take to tell what a position costs.
_TELLING = 2.0
#: The longest row that is tried of a model that may take any.
_LONGEST = 1 << 15
#: Seconds after which nothing more is tried.
_SECONDS = 3.0


def takes_any_length(mode: str, device: torch.device) -> bool:
    """Whether a model that runs in this mode (see :class:`Runtime`) needs no preparation for a length it has not seen.

    TorchScript and Inductor may compile anew; on a GPU kernels are chosen by shape.
    """
    return device.type == "cpu" and mode in ("ahead", "none")


def fit_lengths(
    forward: Callable[..., Any], specs: Sequence[InputSpec], to_buckets: bool, example: Example, device: torch.device
) -> ByLength:
    """How batches of this model are cut, by what a call of it was measured to cost; the log tells.

    Args:
        example: gives the model's arguments for so many rows of such a length.
    """
    found = ByLength(specs, to_buckets)
    last = [spec.buckets[-1] for spec in found.padded() if spec.buckets]
    # What is too long for a model without buckets is an error on a CPU; on a GPU it may be the device's end.
    longest = max(last) if len(last) == len(found.padded()) else _LONGEST if device.type == "cpu" else 0
    cost = call_cost(forward, example, found.positions, longest)
    if math.isfinite(cost):
        logger.info("fitted to this model: a call costs as much as %.0f positions of rows", cost)
    return replace(found, cost=cost)


def call_cost(
    forward: Callable[..., Any], example: Example, positions: Callable[[Any], int], longest: int = _LONGEST
) -> float:
    """How many positions take as long as a call costs beside them; infinite where the model is quick, or tells nothing.

    Args:
        example: gives the model's arguments for so many rows of such a length.
        positions: how many there are in arguments.
        longest: beyond the first lengths, none above it is tried.
    """
    rows, length = _LONG
    end = time.monotonic() + _SECONDS
    with torch.inference_mode():
        short = example(*_SHORT)
        least = time_calls(forward, short)
        while length in _LONG or (length <= longest and time.monotonic() < end):
            long = example(rows, length)
            try:
                taken = time_calls(forward, long)
            except Exception as error:
                logger.info("rows of length %d are not taken (%s)", length, error)
                return math.inf
            least = min(least, time_calls(forward, short))  # what disturbed one may not have disturbed the other
            more = positions(long) - positions(short)
            if more > 0 and taken >= max(SLOW, _TELLING * least):
                return max(0.0, least * more / (taken - least) - positions(short))
            length *= 4
    return math.inf


@dataclass(frozen=True)
class ByLength:
    """How the arguments of a model are cut into sub-batches.

    Args:
        specs: the model's inputs.
        to_buckets: whether rows are filled up to the inputs' buckets.
        cost: of a call, in positions.
    """

    specs: Sequence[InputSpec]
    to_buckets: bool
    cost: float = math.inf

    def padded(self) -> List[InputSpec]:
        """The inputs that are filled up, in order: one column of lengths each."""
        return [spec.tensor for spec in self.specs if spec.tensor.pad is not None]

    def columns(self) -> List[Optional[int]]:
        """For each argument of the model, which of the inputs that are filled up is as long as its second size."""
        found: List[Optional[int]] = []
        padded = 0
        for spec in self.specs:
            if spec.tensor.pad is None:
                found.append(None)
                continue
            found.append(padded)
            if spec.tensor.companion is not None:
                found.append(padded if spec.tensor.companion == "mask" else None)
            padded += 1
        return found

    def positions(self, arguments: Sequence[torch.Tensor]) -> int:
        """Rows times their length, of all inputs that are filled up."""
        first = {column: one for column, one in reversed(list(zip(self.columns(), arguments))) if column is not None}
        return sum(one.shape[0] * one.shape[1] for one in first.values())

    def plan(self, lengths: np.ndarray[Any, Any], limit: int) -> Optional[Plan]:
        """Where to cut rows of these lengths; None where they go together best.

        Args:
            lengths: int64 [rows, inputs that are filled up].
            limit: rows of a sub-batch, at most.
        """
        if not math.isfinite(self.cost) or len(lengths) < 2:
            return None
        if self.to_buckets:
            lengths = _rounded_up(lengths, [spec.buckets for spec in self.padded()])
        order = np.argsort(lengths.sum(1), kind="stable")
        spans = cheapest(lengths[order], self.cost, limit)
        if len(spans) == 1:
            return None
        longest = [lengths[order[start:stop]].max(0).tolist() for start, stop in spans]
        columns = self.columns()
        sizes = [[None if column is None else most[column] for column in columns] for most in longest]
        return Plan(torch.from_numpy(order), spans, sizes)


def cheapest(lengths: np.ndarray[Any, Any], cost: float, limit: int) -> List[Tuple[int, int]]:
    """Consecutive spans of rows with the least sum of ``cost`` and their positions, filled up to their longest.

    By dynamic programming over where the last span begins.

    Args:
        lengths: int64 [rows, inputs], in rising order of their sums.
        limit: rows of a span, at most.

    Returns:
        First row and the row behind the last of each span.
    """
    best = np.zeros(len(lengths) + 1)
    begins = [0] * (len(lengths) + 1)
    for stop in range(1, len(lengths) + 1):
        first = max(0, stop - limit)
        longest = np.maximum.accumulate(lengths[first:stop][::-1], axis=0).sum(1)
        costs = best[first:stop][::-1] + cost + longest * np.arange(1, stop - first + 1)
        cut = int(costs.argmin())
        best[stop], begins[stop] = costs[cut], stop - 1 - cut
    spans: List[Tuple[int, int]] = []
    stop = len(lengths)
    while stop:
        spans.append((begins[stop], stop))
        stop = begins[stop]
    return spans[::-1]


def _rounded_up(lengths: np.ndarray[Any, Any], buckets: Sequence[Sequence[int]]) -> np.ndarray[Any, Any]:
    columns = [[bucket(length, some) for length in column] for column, some in zip(lengths.T.tolist(), buckets)]
    made: np.ndarray[Any, Any] = np.array(columns, np.int64).T
    return made
