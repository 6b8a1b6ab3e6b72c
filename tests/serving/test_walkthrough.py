"""Every request of the document, its answer checked in full, through supervisor, wrapper and real TorchServe."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from scripts import demo
from scripts.walkthrough import ROOT, Step, load, post, steps

if TYPE_CHECKING:
    from tests.serving.servers import Served


@pytest.mark.parametrize("step", steps(), ids=lambda step: step.title)
def test_answer_is_the_documented_one(served: Served, step: Step) -> None:
    step.check(post(served.base, step))


@pytest.mark.parametrize("step", steps(), ids=lambda step: step.title)
def test_the_curl_line_as_a_person_types_it(served: Served, step: Step) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    line = step.curl(served.base)
    ran = subprocess.run([*line.split(), "-sS", "-w", "\n%{http_code}"], cwd=ROOT, capture_output=True, text=True)
    body, status = ran.stdout.rsplit("\n", 1)
    assert status == "200", ran.stdout + ran.stderr
    step.check(json.loads(body))


def test_same_image_is_explained_alike_by_both_protocols(served: Served) -> None:
    image = load("v1_mnist.json")["instances"][0]["data"]
    v1 = served.post("/v1/models/mnist:explain", {"instances": [{"data": image, "target": 2}]})
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [image], "parameters": {"target": 2}}
    v2 = served.post("/v2/models/mnist/explain", {"inputs": [tensor]})
    flat = [value for row in v1["explanations"][0][0] for value in row]
    assert v2["outputs"][0]["data"] == pytest.approx(flat, abs=1e-5)


def test_the_demo_says_every_answer_in_words_and_draws_one(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.walk(served.base, tmp_path / "build" / "explanation.png")
    lines = capsys.readouterr().out.splitlines()
    answers = [line.split(": ", 1) for line in lines if not line.startswith("  ")]
    assert [words.strip() for _, words in answers] == [
        "a 2, 93.4%",
        "a 0, 96.0%",
        "a 0, 96.0%",
        "why a 2, 93.4%",
        "why a 0, 96.0%",
        "why a 0, 96.0%",
    ]
    assert len(lines) == 2 * len(steps())
    with Image.open(tmp_path / "build" / "explanation.png") as drawn:
        assert drawn.width > 600
