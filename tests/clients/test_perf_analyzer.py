"""NVIDIA's perf_analyzer, unmodified, over HTTP with JSON, HTTP with binary tensors, and gRPC.

It is looked for as PERF_ANALYZER (a command line) and on the PATH. PyPI's package perf-analyzer has it, for glibc 2.38
and later; elsewhere it runs by a newer system's loader: `PERF_ANALYZER="…/ld-linux-x86-64.so.2 --library-path …"`.
"""

from __future__ import annotations

import csv
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serving.servers import Served

COMMAND = shlex.split(os.environ.get("PERF_ANALYZER", "")) or [shutil.which("perf_analyzer") or ""]
pytestmark = pytest.mark.skipif(
    not COMMAND[0], reason="PERF_ANALYZER is not set and perf_analyzer is not on the PATH (PyPI: perf-analyzer)"
)
FORMS = {
    "HTTP JSON": ["-i", "http", "--input-tensor-format", "json", "--output-tensor-format", "json"],
    "HTTP binary": ["-i", "http", "--input-tensor-format", "binary", "--output-tensor-format", "binary"],
    "gRPC": ["-i", "grpc"],
    "gRPC stream": ["-i", "grpc", "--streaming", "--async"],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("concurrency", [1, 16, 64])
def test_it_measures(served: Served, tmp_path: Path, form: str, concurrency: int) -> None:
    address = served.grpc if form.startswith("gRPC") else served.base.removeprefix("http://")
    report = tmp_path / "report.csv"
    # Zeros are pixels; its random floats have NaN among them, which images do not. Stability is that of the machine.
    command = [*COMMAND, "-m", "mnist", "-u", address, *FORMS[form], "--input-data", "zero", "-f", str(report)]
    command += ["--concurrency-range", str(concurrency), "-s", "999", "--measurement-mode", "count_windows"]
    command += ["--measurement-request-count", str(4 * concurrency)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]
    with report.open() as file:
        [row] = csv.DictReader(file)
    assert int(row["Concurrency"]) == concurrency
    assert float(row["Inferences/Second"]) > 0
    assert "error" not in ran.stdout.lower(), ran.stdout[-3000:]
