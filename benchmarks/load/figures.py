"""What one load run measured, whichever generator made it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Dict


class LoadError(RuntimeError):
    """The generator itself failed, or could not be found; says what to install."""


@dataclass(frozen=True)
class LoadFigures:
    """Times in milliseconds. ``errors`` counts every request without a right answer: one voids the run."""

    requests: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    errors: int

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0

    def to_json(self) -> Dict[str, float]:
        return {**asdict(self), "requests_per_second": self.requests_per_second}
