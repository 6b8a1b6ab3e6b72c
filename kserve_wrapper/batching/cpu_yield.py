"""TorchServe gives a worker its next batch before the wrapper deals with the answer to the last.

TorchServe's threads pass an answer on and give the worker the batch that waits, both at once. Where the workers and the
wrapper take all processors, the wrapper, woken by the answer, would run in those threads' place, and the worker wait
until each of the answer's requests is dealt with.
"""

from __future__ import annotations

import os
import time
from typing import Callable, Optional

#: Seconds asked for; operating systems add half of that. TorchServe's threads need about as much.
PAUSE = 100e-6
#: A wrapper that computes for more of the time than this is what everybody waits for, and does not pause.
BUSIEST = 0.65
#: What is left of earlier measurements with each further answer.
_FADING = 0.9


class Handover:
    """Pauses where that helps TorchServe.

    Args:
        wrappers: processes that wrap the same TorchServe, this one among them.
        processors: that this process may use; None asks the operating system.
        clock: monotonic seconds.
        computed: seconds that this thread has computed for.
        sleep: blocks for so many seconds.
    """

    def __init__(
        self,
        wrappers: int = 1,
        processors: Optional[int] = None,
        clock: Callable[[], float] = time.monotonic,
        computed: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._wrappers = wrappers
        self._processors = processors or _processors()
        self._clock = clock
        self._computed = computed
        self._sleep = sleep
        self._seen_at, self._computed_then = clock(), computed()
        # Both fade alike; their quotient counts.
        self._elapsed = self._busy = 0.0

    def give_way(self, in_flight: int, workers: int) -> None:
        """To be called when an answer is there, before anything is done about it.

        Pauses where a further batch waits for a worker, and Java has no processor beside the workers' and the
        wrapper's. It blocks the event loop: all of this process shall wait.

        Args:
            in_flight: the model's batches under way, the answered one among them.
            workers: of the model.
        """
        if self._processors > workers + self._wrappers:
            return
        busy = self._busy_part()
        if in_flight > workers and busy <= BUSIEST:
            self._sleep(PAUSE)

    def _busy_part(self) -> float:
        """The part of the time for which this thread has computed lately."""
        now, computed = self._clock(), self._computed()
        self._elapsed = _FADING * self._elapsed + (now - self._seen_at)
        self._busy = _FADING * self._busy + (computed - self._computed_then)
        self._seen_at, self._computed_then = now, computed
        return self._busy / self._elapsed if self._elapsed else 0.0


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
