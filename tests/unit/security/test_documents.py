"""The threat model names a test for each of its lines, and the report shows what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.faults.figures import COMMITTED, REPORT, render

ROOT = Path(__file__).resolve().parents[3]
LINES = [
    line
    for line in (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| threat"))
]


def test_each_line_of_the_threat_model_has_a_test() -> None:
    assert len(LINES) > 10
    for line in LINES:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", line)
        assert named, line
        for path, test in named:
            assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), (path, test)


def test_report_shows_its_figures() -> None:
    text = REPORT.read_text(encoding="utf-8")
    assert render(text, json.loads(COMMITTED.read_text(encoding="utf-8"))) == text
