"""Measuring while the machine is ours: on a shared host the hypervisor may give our processor time to others."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Tuple, TypeVar

T = TypeVar("T")

#: Share of the machine's processor time that may be stolen during a measurement.
MOST_STOLEN = 0.02
#: Seconds between two tries.
_PAUSE = 5.0
_STAT = Path("/proc/stat")


class Quiet:
    """Repeats measurements during which too much was stolen: a rule that knows nothing of what they gave.

    Args:
        patience: seconds that repeating may take, all measurements together. 0 takes every measurement as it comes.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.repeated = self.disturbed = 0

    def run(self, measurement: Callable[..., T], *given: Any, **options: Any) -> T:
        """The first measurement that was not disturbed, or the last, when patience is at its end."""
        while True:
            began, before = time.monotonic(), cpu_times()
            result = measurement(*given, **options)
            stolen = stolen_share(before, cpu_times())
            if stolen <= MOST_STOLEN:
                return result
            if self._patience <= 0:
                self.disturbed += 1
                return result
            self.repeated += 1
            print(f"{stolen:.0%} of the processor time was stolen: once more", file=sys.stderr, flush=True)
            time.sleep(_PAUSE)
            self._patience -= time.monotonic() - began

    def to_json(self) -> Dict[str, float]:
        return {"most_stolen": MOST_STOLEN, "repeated": self.repeated, "disturbed": self.disturbed}


def cpu_times() -> Tuple[int, int]:
    """Ticks stolen, and all ticks, since the machine started; proc(5). (0, 0) where there is no such file."""
    if not _STAT.exists():
        return 0, 0
    # Guests' time is in the user's already.
    ticks = [int(field) for field in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[7], sum(ticks)


def stolen_share(before: Tuple[int, int], after: Tuple[int, int]) -> float:
    """0 to 1."""
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def add_patience(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help=f"repeat, for so long, measurements of which the hypervisor stole over {MOST_STOLEN:.0%}% (default: 0)",
    )
