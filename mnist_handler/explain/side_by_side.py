"""Two chunks of work at once, for processors that the threads of one operator leave idle."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Callable, List, TypeVar

T = TypeVar("T")


class TwoWayRun:
    """The calling thread and one beside it.

    Threads that never wait for each other lose less on busy processors than those inside an operator, which meet after
    each one. torch gives the second as many threads inside an operator as the first.
    """

    def __init__(self) -> None:
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside")

    def run(self, first: Callable[[], T], second: Callable[[], T]) -> List[T]:
        """Results of both, in this order; raises what either raised, the first before the second, once both ended."""
        other = self._beside.submit(second)
        try:
            mine = first()
        finally:
            wait([other])
        return [mine, other.result()]
