"""The limit's report: efficiency over the same batches, and over the largest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

from benchmarks.reports.limit import report


def served(rate: float, inside: float, errors: int = 0) -> Dict[str, Any]:
    described = {"server": "ours", "connections": 64, "rows": 1, "errors": errors, "rows_per_second": rate}
    return {**described, "rows_per_batch": 30, "inside": inside}


def lines(rounds: List[Dict[str, Any]], tmp_path: Path, monkeypatch: Any) -> List[str]:
    monkeypatch.setattr("benchmarks.reports.markdown.heading", lambda title, machine: f"# {title}\n\n")
    inside = [{"rows": 64, "rows_per_second": 2000.0} for _ in rounds]
    return report({"machine": {}, "inside": inside, "served": rounds}, tmp_path / "x").splitlines()


def test_efficiency_is_over_the_same_batches_and_over_the_largest(tmp_path: Path, monkeypatch: Any) -> None:
    last = lines([served(700, 1000), served(900, 1000), served(750, 1000)], tmp_path, monkeypatch)[-1]
    cells = [cell.strip() for cell in last.strip("|").split("|")]
    assert cells[0] == "1"
    assert cells[2].startswith("0.75")
    assert cells[3] == "yes"
    assert cells[4].startswith("0.38")


def test_a_run_with_errors_is_no_speed(tmp_path: Path, monkeypatch: Any) -> None:
    rounds = [served(900, 1000, errors=1), served(900, 1000, errors=1), served(900, 1000)]
    last = lines(rounds, tmp_path, monkeypatch)[-1]
    assert last.strip("|").split("|")[3].strip() == "NO"
