"""What a check of a model directory has to say: where, what is wrong, what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Callable, Iterable, Optional


class Severity(Enum):
    """An error keeps the service from answering; a warning makes it answer otherwise than written."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing to mend. ``line`` counts from 1; None where a whole file or directory is meant."""

    severity: Severity
    file: Path
    line: Optional[int]
    problem: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else str(self.file)
        return f"{place}: {self.severity.value}: {self.problem}. {self.remedy}."


#: Makes a finding about a file known to it, of a problem and its remedy.
Report = Callable[[str, str], Finding]


def error(file: Path, line: Optional[int], problem: str, remedy: str) -> Finding:
    return Finding(Severity.ERROR, file, line, problem, remedy)


def warning(file: Path, line: Optional[int], problem: str, remedy: str) -> Finding:
    return Finding(Severity.WARNING, file, line, problem, remedy)


def failed(findings: Iterable[Finding]) -> bool:
    """Whether any of them is an error."""
    return any(finding.severity is Severity.ERROR for finding in findings)
