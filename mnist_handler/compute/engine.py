"""Runs a compiled model on batches of any size: chunks, padding to warm sizes, halving when memory runs out."""

from __future__ import annotations

import bisect
import contextlib
import logging
import math
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple, TypeVar, Union

import torch

from mnist_handler.compute.fit import best_size, paying_sizes

logger = logging.getLogger(__name__)

#: Scores [rows, …], or several outputs.
Scores = Union[torch.Tensor, Tuple[torch.Tensor, ...]]
Forward = Callable[..., Scores]
Inputs = Sequence[torch.Tensor]
S = TypeVar("S")
#: TorchScript observes a shape twice before it specialises on it; the calls beyond are timed.
_CALLS = 5
#: Seconds of calls that say enough about a batch size.
_ENOUGH = 0.1
#: Seconds until the first line about a long warm-up, and between the next ones.
_TELL_FIRST, _TELL = 1.0, 5.0
#: What torch says where its CPU allocator, CUDA beside torch's allocator (pinned memory, graphs) or cuBLAS had no room.
_FULL = ("DefaultCPUAllocator: can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
NO_MEMORY = "the device's memory does not hold this row, even alone"


@dataclass
class InferenceResult:
    """``scores`` is [rows, …], None when no row could run; rows in ``failed`` hold zeros."""

    scores: Optional[Scores]
    failed: Dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A batch in sub-batches, which ``lengths.py`` makes.

    Args:
        order: of the rows, int64 [rows].
        spans: first row, in that order, and the row behind the last of each sub-batch.
        sizes: for each sub-batch the second size of each of the model's arguments; None = as it is.
    """

    order: torch.Tensor
    spans: Sequence[Tuple[int, int]]
    sizes: Sequence[Sequence[Optional[int]]]


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _FULL)


def default_sizes(limit: int) -> List[int]:
    """Every size to 16, then in steps of at most an eighth, up to ``limit`` itself."""
    sizes = list(range(1, min(limit, 16) + 1))
    while sizes[-1] < limit:
        step = 1 << (sizes[-1].bit_length() - 4)
        sizes.append(min(limit, sizes[-1] + step))
    return sizes


def spread(sizes: Sequence[int]) -> List[int]:
    """Sorted sizes in the order in which each next one serves best: both ends, then the middles of the gaps."""
    order = [0, len(sizes) - 1]
    gaps = [(0, len(sizes) - 1)]
    for low, high in gaps:  # grows as it goes
        middle = (low + high) // 2
        if low < middle < high:
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return [sizes[place] for place in dict.fromkeys(order)] if sizes else []


def run_halving(call: Callable[[int, int], S], rows: int, limit: int) -> Tuple[List[Tuple[int, S]], Dict[int, str]]:
    """Call for consecutive spans of at most ``limit`` rows; halve the span each time that memory runs out.

    Returns:
        (first row, result) of each span that ran, and the rows that did not fit even alone.
    """
    done: List[Tuple[int, S]] = []
    failed: Dict[int, str] = {}
    start = 0
    while start < rows:
        size = min(limit, rows - start)
        try:
            done.append((start, call(start, start + size)))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            full = True
        else:
            full = False
        if not full:
            start += size
            continue
        # Out of the except block, so that the error no longer holds the tensors of its frames.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if size > 1:
            limit = size // 2
            logger.warning("out of memory with %d rows; going on with %d", size, limit)
        else:
            failed[start] = NO_MEMORY
            start += 1
    return done, failed


@contextlib.contextmanager
def telling(text: str) -> Iterator[None]:
    """Log how long it takes, every few seconds, also while one call takes longer than that.

    Args:
        text: a format of the seconds.
    """
    begin, done = time.perf_counter(), threading.Event()

    def tell() -> None:
        pause = _TELL_FIRST
        while not done.wait(pause):
            logger.info("%s", text.format(time.perf_counter() - begin))
            pause = _TELL

    thread = threading.Thread(target=tell, name="telling", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Engine:
    """A model behind a fixed set of batch sizes.

    Args:
        forwards: the model, from rows to scores [rows, …]; several equal ones if it is open which is the fastest. One
            with a method ``padded(inputs, size)`` pads by itself, and gives the scores of the rows alone.
        limit: rows that go through at once.
        sizes: batch sizes that are warm; a batch is padded with zeros to the next of them. None = no padding.
        pads: False where any size is as warm as another: then ``sizes`` are those that fitting tries.
    """

    def __init__(
        self, forwards: Sequence[Forward], limit: int, sizes: Optional[Sequence[int]] = None, pads: bool = True
    ) -> None:
        self._forwards = list(forwards)
        self._tried = sorted(sizes) if sizes else []
        self._sizes = self._tried if pads else []
        self._limit = min(limit, self._sizes[-1]) if self._sizes else limit
        self._fastest: Dict[int, Forward] = {}
        #: Rows beyond which a slow model answers no more of them a second; None where none was found.
        self.best_size: Optional[int] = None

    def warm_up(self, example: Inputs, seconds: float = math.inf, fit: bool = False) -> List[int]:
        """Run the sizes until TorchScript has specialised them, and choose the forward of each, while time lasts.

        The smallest comes first, then the largest, then the middle of the widest gap: what the time does not suffice
        for is padded to the next size that is warm, and a larger batch goes in chunks of the largest.

        Args:
            example: inputs of one row.
            seconds: how long it may take; a size that would probably take longer is left out.
            fit: whether sizes that do not pay may be given up: of a slow model (``fit.py``), from the first beyond
                which it answers no more rows a second.

        Returns:
            The sizes that stay cold.
        """
        begin = time.perf_counter()
        warm: List[int] = []
        a_row = 0.0
        with torch.inference_mode(), telling(f"warming, {{:.0f}} s of at most {seconds:.0f}"):
            if fit and self._tried and not self._pads_itself():
                times = paying_sizes(lambda size: self._warm(example, size), self._tried, seconds)
                self._keep(best_size(times))
                warm = [size for size in times if size in self._sizes]
                a_row = min(times[size] / size for size in times)
            for size in self._order():
                if size in warm:
                    continue
                now = time.perf_counter()
                if warm and now - begin + 2 * len(self._forwards) * size * a_row > seconds:
                    continue
                a_row = min(self._warm(example, size) / size, a_row or math.inf)
                warm.append(size)
        self._let_go({size: self._fastest[size] for size in warm})
        cold = [size for size in self._sizes if size not in warm]
        if self._sizes:
            self._sizes = sorted(warm)
            self._limit = min(self._limit, self._sizes[-1])
        self._tell_warm(time.perf_counter() - begin, seconds, cold)
        return cold

    def _let_go(self, fastest: Dict[int, Forward]) -> None:
        """Keeps those that are the fastest of some size: each has weights of its own."""
        self._fastest = fastest
        used = set(map(id, fastest.values()))
        self._forwards = [one for one in self._forwards if id(one) in used] or self._forwards[:1]

    def _keep(self, most: Optional[int]) -> None:
        """Gives up sizes beyond ``most``."""
        if most is not None:
            self.best_size = most
            self._sizes = [size for size in self._sizes if size <= most]
            self._limit = min(self._limit, most)

    def _pads_itself(self) -> bool:
        return any(hasattr(forward, "padded") for forward in self._forwards)

    def _order(self) -> List[int]:
        """Where forwards pad by themselves, CUDA graphs, the largest size comes first: smaller ones use its memory."""
        return self._sizes[::-1] if self._pads_itself() else spread(self._sizes)

    def _warm(self, example: Inputs, size: int) -> float:
        """Seconds of a call with the forward that is the fastest for this size."""
        # Clones, since a view of a normal tensor is none of inference mode, as a request's tensors are:
        # Inductor would compile again for the first of those.
        rows = [tensor.expand(size, *tensor.shape[1:]) for tensor in example]
        inputs = [one.clone(memory_format=torch.contiguous_format) for one in rows]
        times = [time_calls(forward, inputs) for forward in self._forwards]
        self._fastest[size] = self._forwards[times.index(min(times))]
        return min(times)

    def _tell_warm(self, took: float, seconds: float, cold: List[int]) -> None:
        shown = ", ".join(map(str, self._sizes)) or "any number of"
        logger.info("warm after %.1f s: batches of %s rows", took, shown)
        if cold:
            logger.warning(
                "warm-up stopped at %.0f s (handler.warm_up_seconds): %d batch sizes stay cold, padded or cut (%s)",
                *(seconds, len(cold), ", ".join(map(str, cold))),
            )

    @property
    def limit(self) -> int:
        """Rows that go through at once."""
        return self._limit

    def forward(self, *inputs: torch.Tensor) -> Optional[Scores]:
        """As ``run``, like a model."""
        return self.run(inputs).scores

    def run(self, inputs: Inputs, instead: Optional[Forward] = None, plan: Optional[Plan] = None) -> InferenceResult:
        """Scores for all rows; what does not fit into memory is halved until it does.

        Args:
            instead: what is called in the model's place, of the same inputs.
            plan: how the rows are cut into sub-batches, instead of as they come.
        """
        rows = len(inputs[0])
        with torch.inference_mode():
            if plan is not None:
                return self._run_planned(inputs, instead, plan)
            done, failed = run_halving(partial(self._span, inputs, instead), rows, self._limit)
            return InferenceResult(_assemble_all(done, rows), failed)

    def _run_planned(self, inputs: Inputs, instead: Optional[Forward], plan: Plan) -> InferenceResult:
        rows = len(inputs[0])
        order = plan.order.to(inputs[0].device)
        ordered = [tensor[order] for tensor in inputs]
        done: List[Tuple[int, Scores]] = []
        failed: Dict[int, str] = {}
        for (start, stop), sizes in zip(plan.spans, plan.sizes):
            parts = [_cut(tensor[start:stop], size) for tensor, size in zip(ordered, sizes)]
            some, wrong = run_halving(partial(self._span, parts, instead), stop - start, self._limit)
            done += [(start + first, scores) for first, scores in some]
            failed.update({int(plan.order[start + row]): text for row, text in wrong.items()})
        scores = _assemble_all(done, rows)
        back = torch.argsort(order)
        if isinstance(scores, tuple):
            return InferenceResult(tuple(one[back] for one in scores), failed)
        return InferenceResult(None if scores is None else scores[back], failed)

    def _span(self, inputs: Inputs, instead: Optional[Forward], start: int, stop: int) -> Scores:
        rows = stop - start
        parts = inputs if rows == len(inputs[0]) else [tensor[start:stop] for tensor in inputs]
        size = self._padded(rows)
        forward = instead or self._fastest.get(size, self._forwards[0])
        pads_itself = getattr(forward, "padded", None)
        if pads_itself is not None:
            return pads_itself(parts, size)  # type: ignore[no-any-return]
        if size == rows:
            return forward(*parts)
        scores = forward(*(_pad(tensor, size) for tensor in parts))
        return tuple(one[:rows] for one in scores) if isinstance(scores, tuple) else scores[:rows]

    def _padded(self, rows: int) -> int:
        place = bisect.bisect_left(self._sizes, rows)
        return self._sizes[place] if place < len(self._sizes) else rows


def time_calls(forward: Forward, inputs: Inputs) -> float:
    """Seconds of the quickest call. A slow model is called but twice: its calls outweigh their own preparation."""
    times: List[float] = []
    while len(times) < 2 or (len(times) < _CALLS and sum(times) < _ENOUGH):
        begin = time.perf_counter()
        forward(*inputs)
        if inputs[0].is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return min(times)


def _cut(tensor: torch.Tensor, size: Optional[int]) -> torch.Tensor:
    return tensor if size is None or size == tensor.shape[1] else tensor[:, :size].contiguous()


def _pad(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    padded = tensor.new_zeros((rows, *tensor.shape[1:]))
    padded[: len(tensor)] = tensor
    return padded


def _assemble_all(done: Sequence[Tuple[int, Scores]], rows: int) -> Optional[Scores]:
    if not done or isinstance(done[0][1], torch.Tensor):
        return assemble([(start, one) for start, one in done if isinstance(one, torch.Tensor)], rows)
    columns = zip(*(part for _, part in done))
    whole = [assemble(list(zip([start for start, _ in done], column)), rows) for column in columns]
    return tuple(one for one in whole if one is not None)


def assemble(done: Sequence[Tuple[int, torch.Tensor]], rows: int) -> Optional[torch.Tensor]:
    """Spans back in place as [rows, …], zeros where a row failed or is shorter than the longest."""
    if not done:
        return None
    if len(done) == 1 and len(done[0][1]) == rows:
        return done[0][1]
    first = done[0][1]
    longest = [max(sizes) for sizes in zip(*(part.shape[1:] for _, part in done))]
    whole = first.new_zeros((rows, *longest))
    for start, part in done:
        place = (slice(start, start + len(part)), *(slice(0, size) for size in part.shape[1:]))
        whole[place] = part
    return whole
