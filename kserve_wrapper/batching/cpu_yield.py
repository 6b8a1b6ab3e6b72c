"""TorchServe gives a worker its next batch before the wrapper deals with the answer to the last.

TorchServe's threads pass an answer on and give the worker the batch that waits, both at once. Where the workers and the
wrapper take all processors, the wrapper, woken by the answer, would run in those threads' place, and the worker wait
until each of the answer's requests is dealt with.

It blocks the event loop for a tenth of a millisecond; docs/design.md has what that is worth.
"""

from __future__ import annotations

import time
from typing import Callable, Optional

from kserve_wrapper.core.processors import available

#: Seconds asked for; operating systems add half of that. TorchServe's threads need about as much.
PAUSE = 100e-6
#: A wrapper that computes for more of the time than this is what everybody waits for, and does not pause.
BUSIEST = 0.65
#: What is left of earlier measurements with each further answer.
_FADING = 0.9


class CpuYield:
    """Pauses where that helps TorchServe.

    Args:
        processes: server processes in front of the same TorchServe, this one among them.
        processors: that this process may use, its container's quota counted; None asks the operating system.
        clock: monotonic seconds.
        computed: seconds that this thread has computed for.
        sleep: blocks for so many seconds.
    """

    def __init__(
        self,
        processes: int = 1,
        processors: Optional[float] = None,
        clock: Callable[[], float] = time.monotonic,
        computed: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._processes = processes
        self._processors = processors or available()
        self._clock = clock
        self._computed = computed
        self._sleep = sleep
        self._seen_at, self._computed_then = clock(), computed()
        # Both fade alike; their quotient counts.
        self._elapsed = self._busy = 0.0

    def __call__(self, in_flight: int, workers: int) -> None:
        """To be called when an answer is there, before anything is done about it.

        Pauses where a further batch waits for a worker, and Java has no processor beside the workers' and the
        wrapper's. It blocks the event loop: all of this process shall wait.

        Args:
            in_flight: the model's batches under way, the answered one among them.
            workers: of the model.
        """
        if self._processors > workers + self._processes:
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
