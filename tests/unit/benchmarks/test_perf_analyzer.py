"""What is made of perf_analyzer's own report, with programs that write what it does."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest

from benchmarks import machine, perf_analyzer
from benchmarks.report import write_report
from benchmarks.servers.ours import Ours

GIVEN = argparse.Namespace(seconds=0.5, stability=10, trials=4)
CSV = "Concurrency,Inferences/Second,p50 latency,p90 latency,p99 latency\n8,812.5,9000,12000,20000\n"
FIGURES = {"per_second": 812.5, "p50_us": 9000.0, "p90_us": 12000.0, "p99_us": 20000.0}


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Installs a program in its stead; ``option(name)`` is what it was given."""
    path = tmp_path / "program.py"
    path.write_text(f"import sys\noption = lambda name: sys.argv[sys.argv.index(name) + 1]\nCSV = {CSV!r}\n{body}\n")
    monkeypatch.setenv("PERF_ANALYZER", f"{sys.executable} {path}")


def test_its_figures_are_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "assert option('-s') == '10'\nopen(option('-f'), 'w').write(CSV)")
    measured = perf_analyzer.measure(Ours(), "gRPC", 8, GIVEN, tmp_path)
    assert measured == {"server": "ours", "form": "gRPC", "concurrency": 8, "stable": True, **FIGURES}


def test_what_it_does_not_call_stable_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "if option('-s') == '10':\n    print('Failed to obtain stable measurement.'); sys.exit(2)\n"
    program(tmp_path, monkeypatch, body + "open(option('-f'), 'w').write(CSV)")
    measured = perf_analyzer.measure(Ours(), "HTTP JSON", 8, GIVEN, tmp_path)
    assert (measured["stable"], measured["per_second"]) == (False, 812.5)


@pytest.mark.parametrize(
    "body", ["sys.exit(1)", "open(option('-f'), 'w').write(CSV); print('error: 3 failed')", "pass"]
)
def test_a_run_with_errors_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program(tmp_path, monkeypatch, body)
    with pytest.raises(perf_analyzer.NotMeasured, match="gRPC at 8"):
        perf_analyzer.measure(Ours(), "gRPC", 8, GIVEN, tmp_path)


def test_the_report_has_a_table_a_form(tmp_path: Path) -> None:
    runs = [
        {"server": server, "form": form, "concurrency": 8, "stable": form == "gRPC", **FIGURES, "per_second": rate}
        for form in perf_analyzer.FORMS
        for server, rate in (("ours", 812.5), ("triton", 325.0))
    ]
    asked = {"seconds": 1.0, "stability": 10, "trials": 10, "program": "Perf Analyzer"}
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"kind": "perf_analyzer", "machine": machine.describe(), "asked": asked, "runs": runs}))
    text = write_report(path).read_text()
    assert "| ours | 8 | 812 | 9.00 | 12.0 | 20.0 | yes |  |" in text
    assert "| triton | 8 | 325 | 9.00 | 12.0 | 20.0 | yes | 2.50x |" in text
    assert text.count("| no |") == 4
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        f"## {form}" for form in perf_analyzer.FORMS
    ]
