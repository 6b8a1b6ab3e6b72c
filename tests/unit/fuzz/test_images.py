"""No image file, however damaged or greedy, ends the worker or takes memory beyond the pixels that it may have.

Each run is a process of its own: what a decoder in C does wrong would end it. ``OTHER_PYTHON`` may name the Python of
another environment, one with the newest torchvision, say, in which the same holds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.figures import record
from tests.unit.fuzz.hostile import EXAMPLES

ROOT = Path(__file__).resolve().parents[3]
OTHER = os.environ.get("OTHER_PYTHON")
PYTHONS = [
    pytest.param(sys.executable, id="this"),
    pytest.param(
        OTHER, id="other", marks=pytest.mark.skipif(OTHER is None, reason="OTHER_PYTHON names no other environment")
    ),
]


def run(python: str, *arguments: str) -> Any:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [python, "-m", "tests.unit.fuzz.decode_images", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-2000:]}"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("python", PYTHONS)
def test_damaged_files_of_every_format(python: str) -> None:
    count = 10 * EXAMPLES
    found = run(python, "damaged", str(count), "1")
    record(6, "damaged image files", {"inputs": 3 * count, "decoded": found["decoded"], "refused": found["refused"]})
    assert found["decoded"] + found["refused"] == 3 * count
    assert min(found["decoded"], found["refused"]) > count / 4


@pytest.mark.parametrize("python", PYTHONS)
def test_small_files_that_ask_for_much(python: str) -> None:
    found = run(python, "bombs")
    became = found["became"]
    assert found["grown_mb"] < 200, became
    for name in (
        "2000 x 1",
        "1 x 65535",
        "a compressed text of 100 MB",
        "a GIF of 300 frames",
        "a TIFF that claims 60 GB",
    ):
        assert became[name][0] == ["decoded"] * 3, name
    for name in ("65536 x 1", "a JPEG of two thousand scans", "a TIFF whose strips lie over each other"):
        assert became[name][0] == ["refused"] * 3, name
