"""What the converter makes is posted as it is and answered right, by file names and by standard input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples import ROOT, predicted
from tests.serving.mixed import png
from tests.serving.servers import Served

PICKS = [5, 17, 42]
PATHS = {"v1": "/v1/models/mnist:predict", "v2-bytes": "/v2/models/mnist/infer", "v2-tensor": "/v2/models/mnist/infer"}


def convert(form: str, *arguments: str, stdin: bytes = b"") -> bytes:
    command = [sys.executable, str(ROOT / "model-archiver" / "convert.py"), form, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


def digits(answer: dict[str, object]) -> object:
    if "predictions" in answer:
        return answer["predictions"]
    [output] = json.loads(json.dumps(answer["outputs"]))
    return output["data"]


@pytest.mark.parametrize("form", PATHS)
def test_several_files_at_once(served: Served, form: str, tmp_path: Path) -> None:
    files = []
    for pick in PICKS:
        files.append(tmp_path / f"{pick}.png")
        files[-1].write_bytes(png(pick))
    status, answer = served.exchange(PATHS[form], convert(form, *map(str, files)))
    assert status == 200, answer
    assert digits(answer) == [predicted()[pick] for pick in PICKS]


@pytest.mark.parametrize("form", PATHS)
def test_standard_input(served: Served, form: str) -> None:
    status, answer = served.exchange(PATHS[form], convert(form, stdin=png(9)))
    assert status == 200, answer
    assert digits(answer) == [predicted()[9]]
