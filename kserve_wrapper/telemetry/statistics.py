"""What each model has answered: how many requests and rows, in which batches, and how long they took.

Triton's statistics extension tells these figures. They are counted a batch at a time. The processes of ``--workers N``
tell each other theirs by files.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

_Key = Tuple[str, str]


class Figures:
    """Of one model version. Times are seconds, added up over requests unless it says otherwise."""

    __slots__ = ("batches", "failed", "failed_seconds", "last", "requests", "rows", "upstream_seconds", "waited")

    def __init__(self) -> None:
        self.requests = self.rows = self.failed = 0
        #: From admission until the batch left; and from there until its answer was there.
        self.waited = self.upstream_seconds = 0.0
        self.failed_seconds = 0.0
        #: Of the last answer, seconds since 1970; 0.0 before the first.
        self.last = 0.0
        #: By rows: how many batches had so many, and the seconds that they took together.
        self.batches: Dict[int, Tuple[int, float]] = {}

    def add(self, other: Figures) -> None:
        for name in ("requests", "rows", "failed", "waited", "upstream_seconds", "failed_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.last = max(self.last, other.last)
        for rows, (count, seconds) in other.batches.items():
            self.add_batches(rows, count, seconds)

    def add_batches(self, rows: int, count: int, seconds: float) -> None:
        known, before = self.batches.get(rows, (0, 0.0))
        self.batches[rows] = known + count, before + seconds

    @property
    def executions(self) -> int:
        """Batches that were answered."""
        return sum(count for count, _ in self.batches.values())

    def to_json(self) -> List[Any]:
        return [getattr(self, name) for name in self.__slots__]

    @classmethod
    def from_json(cls, values: List[Any]) -> Figures:
        figures = cls()
        for name, value in zip(cls.__slots__, values):
            setattr(figures, name, value)
        figures.batches = {int(rows): (count, seconds) for rows, (count, seconds) in figures.batches.items()}
        return figures


class Statistics:
    """Counts of one process, and on request those of all.

    Args:
        directory: where the processes put their files; None for a single process.
    """

    def __init__(self, directory: Optional[str] = None) -> None:
        self._own: Dict[_Key, Figures] = {}
        self._directory = Path(directory) if directory else None
        self._changed = False

    def answered(
        self, model: str, version: Optional[str], rows: int, requests: int, waited: float, seconds: float
    ) -> None:
        """One batch was answered.

        Args:
            version: None where it is the default one and that is not known.
            waited: seconds from admission until the batch left, over all its requests.
            seconds: from there until the answer.
        """
        figures = self._figures(model, version)
        figures.requests += requests
        figures.rows += rows
        figures.waited += waited
        figures.upstream_seconds += seconds * requests
        figures.last = time.time()
        figures.add_batches(rows, 1, seconds)

    def failed(self, model: str, version: Optional[str], seconds: float) -> None:
        """One request ended in an error, so long after its admission."""
        figures = self._figures(model, version)
        figures.failed += 1
        figures.failed_seconds += seconds

    def of(self, model: str, version: str, default: bool) -> Figures:
        """Figures of all processes; ``default``: the version answers calls that name none."""
        total = Figures()
        keys = [(model, version), (model, "")] if default else [(model, version)]
        for source in [self._own, *self._others()]:
            for key in keys:
                if key in source:
                    total.add(source[key])
        return total

    def flush(self) -> None:
        """Has what was counted here seen by the other processes."""
        if self._directory is None or not self._changed:
            return
        self._changed = False
        text = json.dumps([[*key, figures.to_json()] for key, figures in self._own.items()])
        file = self._file()
        draft = file.with_suffix(".draft")
        draft.write_text(text)
        draft.replace(file)

    def _figures(self, model: str, version: Optional[str]) -> Figures:
        self._changed = True
        key = (model, version or "")
        figures = self._own.get(key)
        if figures is None:
            figures = self._own[key] = Figures()
        return figures

    def _file(self) -> Path:
        assert self._directory is not None
        return self._directory / f"statistics-{os.getpid()}.json"

    def _others(self) -> List[Dict[_Key, Figures]]:
        if self._directory is None:
            return []
        found = []
        for file in self._directory.glob("statistics-*.json"):
            if file != self._file():
                entries = json.loads(file.read_text())
                found.append({(model, version): Figures.from_json(values) for model, version, values in entries})
        return found
