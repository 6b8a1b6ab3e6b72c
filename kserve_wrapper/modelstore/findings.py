"""What a check of a model directory has to say: where, what is wrong, what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Callable, Iterable, Optional

from kserve_wrapper.torchserve.properties import ConfigError


class Severity(Enum):
    """An error keeps the service from answering; a warning makes it answer otherwise than written."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing to mend.

    ``line`` counts from 1; None where a whole file or directory is meant. ``remedy`` is empty where the problem has it.
    """

    severity: Severity
    file: Path
    line: Optional[int]
    problem: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else str(self.file)
        remedy = f" {self.remedy}." if self.remedy else ""
        return f"{place}: {self.severity.value}: {self.problem}.{remedy}"


#: Makes a finding about a file known to it, of a problem and its remedy.
Report = Callable[[str, str], Finding]


def error(file: Path, line: Optional[int], problem: str, remedy: str) -> Finding:
    return Finding(Severity.ERROR, file, line, problem, remedy)


def warning(file: Path, line: Optional[int], problem: str, remedy: str) -> Finding:
    return Finding(Severity.WARNING, file, line, problem, remedy)


def of_config_error(file: Path, problem: ConfigError) -> Finding:
    """The parser's message names file, line and remedy itself; file and line are taken out of it."""
    text = str(problem).rstrip(".")
    for prefix in (f"{file}, line ", f"{file}: "):
        if text.startswith(prefix):
            rest = text[len(prefix) :]
            number, colon, told = rest.partition(": ")
            return error(file, int(number), told, "") if colon and number.isdecimal() else error(file, None, rest, "")
    return error(file, None, text, "")


def failed(findings: Iterable[Finding]) -> bool:
    """Whether any of them is an error."""
    return any(finding.severity is Severity.ERROR for finding in findings)
