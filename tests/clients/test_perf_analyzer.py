"""NVIDIA's perf_analyzer, unmodified, over HTTP with JSON, HTTP with binary tensors, and gRPC.

Where it is looked for: benchmarks/perf_analyzer.py, which measures with it.
"""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest

from benchmarks import perf_analyzer
from tests.serving.servers import Served

pytestmark = pytest.mark.skipif(
    not perf_analyzer.program(),
    reason="PERF_ANALYZER is not set and perf_analyzer is not on the PATH (PyPI: perf-analyzer)",
)
FORMS = {**perf_analyzer.FORMS, "gRPC stream": ("-i", "grpc", "--streaming", "--async")}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("concurrency", [1, 16, 64])
def test_it_measures(served: Served, tmp_path: Path, form: str, concurrency: int) -> None:
    address = served.grpc if form.startswith("gRPC") else served.base.removeprefix("http://")
    report = tmp_path / "report.csv"
    # Zeros are pixels; its random floats have NaN among them, which images do not. Stability is that of the machine.
    settings = {"-m": "mnist", "-u": address, "--input-data": "zero", "-f": str(report), "-s": "999"}
    settings.update({"--concurrency-range": str(concurrency), "--measurement-mode": "count_windows"})
    settings["--measurement-request-count"] = str(4 * concurrency)
    options = [word for setting in settings.items() for word in setting]
    command = [*perf_analyzer.program(), *FORMS[form], *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]
    with report.open() as file:
        [row] = csv.DictReader(file)
    assert int(row["Concurrency"]) == concurrency
    assert float(row["Inferences/Second"]) > 0
    assert "error" not in ran.stdout.lower(), ran.stdout[-3000:]
