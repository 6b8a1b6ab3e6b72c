"""What fits a model on this machine, measured while it loads: how many threads, and batches of how many rows.

The defaults suit small models, whose server needs the processors as much as they do. A model that takes milliseconds a
row leaves it idle: then more threads pay, unless others use the processors, and batches beyond some size only make
everybody wait longer. Measuring costs a model that is quick nothing.
"""

from __future__ import annotations

import logging
import math
import os
import time
from typing import Callable, Dict, List, Optional, Sequence

import torch

from mnist_handler.compute.cpu_share import share

logger = logging.getLogger(__name__)

#: Seconds a row, alone, from which a model is slow.
SLOW = 0.002
#: What more threads, or twice the rows, must bring to be worth it.
_WORTH = 1.1
#: Seconds that comparing threads may take; each number of threads is tried once in any case.
_SECONDS = 0.8
#: Calls before the first that counts, as TorchScript prepares itself, and calls with each number of threads.
_FIRST, _CALLS = 3, 4

Call = Callable[[], object]


def fit_threads(call: Call, wanted: int, most: Optional[int] = None) -> Optional[str]:
    """Give operators all processors of this worker's share, if a call is slow and that makes it quicker.

    The two numbers of threads take turns, so that what disturbs one disturbs the other, and the best call of each
    counts. Where others keep the processors busy, a thread that waits for one stalls the operator, which the call
    shows.

    Args:
        call: runs the model on one row.
        wanted: threads as set; 0 = this may choose, unless ``OMP_NUM_THREADS`` says otherwise.
        most: this worker's share of the processors; None = found out.

    Returns:
        What was found, in words; None where nothing was measured.
    """
    few = torch.get_num_threads()
    many = share() if most is None else most
    if wanted or os.environ.get("OMP_NUM_THREADS") or many <= few:
        return None
    with torch.inference_mode():
        alone = min(_seconds(call) for _ in range(_FIRST))
        if alone < SLOW:
            return None
        times: Dict[int, List[float]] = {few: [], many: []}
        end = time.perf_counter() + _SECONDS
        while not times[many] or (len(times[many]) < _CALLS and time.perf_counter() < end):
            for threads, taken in times.items():
                torch.set_num_threads(threads)
                taken.append(_seconds(call))
    best = {threads: min(taken) for threads, taken in times.items()}
    chosen = many if best[few] > _WORTH * best[many] else few
    torch.set_num_threads(chosen)
    shown = ", ".join(f"{1e3 * seconds:.1f} ms with {threads}" for threads, seconds in best.items())
    return f"a row takes {shown} threads: {chosen} threads an operator"


def paying_sizes(warm: Callable[[int], float], sizes: Sequence[int], seconds: float) -> Dict[int, float]:
    """Seconds of batches of one row, two, four and so on, as long as a slow model answers more rows a second for it.

    Args:
        warm: makes a batch size ready and returns the seconds of a batch.
        sizes: to choose from, rising.
        seconds: for everything; no size is tried that would probably take longer.

    Returns:
        Seconds by size. The last two do not pay, two since one may have been disturbed, unless they end with what
        there was or the time; only the first where the model is quick.
    """
    begin = time.perf_counter()
    times: Dict[int, float] = {}
    best, in_vain = math.inf, 0
    for size in sizes:
        if times:
            last = max(times)
            a_row = times[last] / last
            if times[min(times)] / min(times) < SLOW:
                break
            if size < 2 * last and size != sizes[-1]:
                continue
            if time.perf_counter() - begin + 4 * size * a_row > seconds:
                break
        times[size] = warm(size)
        rate = times[size] / size
        in_vain = in_vain + 1 if rate * _WORTH > best else 0
        best = min(best, rate)
        if in_vain == 2:
            break
    return times


def best_size(times: Dict[int, float]) -> Optional[int]:
    """The batch size beyond which a slow model answers no more rows a second; None where that is not known."""
    rates = {size: seconds / size for size, seconds in times.items()}
    if len(rates) < 2 or rates[min(rates)] < SLOW:
        return None
    best = min(rates.values())
    size = min(size for size, rate in rates.items() if rate <= best * _WORTH)
    return size if size < max(rates) else None


def _seconds(call: Call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
