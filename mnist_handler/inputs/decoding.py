"""The images of a batch, decoded side by side in threads, within the memory that one of them may take."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Iterable, Optional, Sequence, Type

if TYPE_CHECKING:
    import numpy as np

    Row = np.ndarray[Any, Any]

#: What is wrong with an image, or None.
Fault = Optional[str]
#: Bytes of an image, on average, from which decoding it takes longer than handing it to a thread.
_WORTH = 4096


class DecodingPool:
    """Threads that decode images. Pillow lets others run while it decodes and resizes.

    Args:
        threads: at most so many images at a time.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "decode") if threads > 1 else None

    def map(self, decode: Callable[[Any, Row], Fault], values: Sequence[Any], out: Iterable[Row]) -> Iterable[Fault]:
        """What ``decode`` returns for each value (bytes or text) and its row of ``out``, in threads where it pays."""
        if self._pool is None or len(values) < 2 or sum(map(len, values)) < _WORTH * len(values):
            return map(decode, values, out)
        return self._pool.map(decode, values, out)


class PixelBudget:
    """Bounds the pixels that are decoded at the same time by all threads to those that one image may have."""

    def __init__(self, pixels: int) -> None:
        self._most = pixels
        self._free = pixels
        self._changed = threading.Condition()

    def lease(self) -> Lease:
        return Lease(self)

    def take(self, pixels: int) -> int:
        """Wait until there is room for so many pixels; an image of more than all goes alone. Returns what is taken."""
        taken = min(pixels, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= taken)
            self._free -= taken
        return taken

    def give(self, pixels: int) -> None:
        with self._changed:
            self._free += pixels
            self._changed.notify_all()


class Lease:
    """One image's part of a budget, until the end of its ``with``."""

    def __init__(self, budget: PixelBudget) -> None:
        self._budget = budget
        self._taken: Optional[int] = None

    def take(self, pixels: int) -> None:
        """Wait for so many pixels; only the first time, as who waits with something in hand may wait for ever."""
        if self._taken is None:
            self._taken = self._budget.take(pixels)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._taken is not None:
            self._budget.give(self._taken)
