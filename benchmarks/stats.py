"""Medians, spreads, percentiles and paired ratios."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Dict, List, Sequence


@dataclass(frozen=True)
class Spread:
    """Several rounds of one figure: their median and their extremes."""

    median: float
    low: float
    high: float
    rounds: int

    @property
    def relative(self) -> float:
        """(high - low) / median; 0 for a single round, infinity where the median is 0 and the rounds differ."""
        width = self.high - self.low
        if width == 0:
            return 0.0
        return width / self.median if self.median else math.inf

    def to_json(self) -> Dict[str, float]:
        return {"median": self.median, "low": self.low, "high": self.high, "rounds": self.rounds}


def spread(values: Sequence[float]) -> Spread:
    """The spread of the rounds' values.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("a spread needs at least one round")
    return Spread(median(values), min(values), max(values), len(values))


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """The spread of ours[i] / theirs[i], round by round: what disturbs a whole round cancels out.

    Raises:
        ValueError: different numbers of rounds, none, or a zero among ``theirs``.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} rounds against {len(theirs)}: ratios need pairs of one round")
    if any(value == 0 for value in theirs):
        raise ValueError("a ratio to zero has no meaning")
    return spread([a / b for a, b in zip(ours, theirs)])


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest-rank percentile: the smallest value that at least ``percent`` % of the values do not exceed.

    Args:
        values: in any order, not empty.
        percent: 0 to 100.
    """
    if not values:
        raise ValueError("a percentile needs at least one value")
    if not 0 <= percent <= 100:
        raise ValueError(f"percent is {percent}; give 0 to 100")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def bend(sizes: Sequence[float], rates: Sequence[float], share: float = 0.9) -> float:
    """Where growth has been had: the first size whose rate reaches ``share`` of the best.

    Args:
        sizes: ascending (rows, connections …).
        rates: work done per second at each size.
    """
    if len(sizes) != len(rates) or not sizes:
        raise ValueError("bend needs as many rates as sizes, and at least one")
    return next(size for size, rate in zip(sizes, rates) if rate >= share * max(rates))


def interleaved(names: Sequence[str], round_number: int) -> List[str]:
    """The order of a round: rotated by one each round, so that no server always follows the same one."""
    shift = round_number % len(names) if names else 0
    return [*names[shift:], *names[:shift]]
