"""ts-kserve's commands that ask a running server: explain draws, bench measures, and both say what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Optional

import numpy as np
import pytest
from PIL import Image

from kserve_wrapper.commands import bench
from kserve_wrapper.commands.main import main
from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.drawing.words_image import words_image
from tests.samples import predicted
from tests.serving.mixed import png
from tests.serving.servers import Served


def test_an_image_is_explained(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "digit.png").write_bytes(png(5))
    target, other = tmp_path / "heat.png", tmp_path / "other.png"
    asked = ["explain", str(tmp_path / "digit.png"), "--url", served.base]
    assert main([*asked, "--out", str(target)]) == 0, capsys.readouterr().err
    assert re.match(rf"the answer: a {predicted()[5]}, [\d.]+%", capsys.readouterr().out)
    pixels = np.asarray(Image.open(target).convert("RGB")).astype(int)
    assert min(pixels.shape[:2]) > 280
    assert (pixels[..., 0] - pixels[..., 2] > 60).any(), "there is red"
    assert (pixels[..., 2] - pixels[..., 0] > 60).any(), "there is blue"
    assert main([*asked, "--target", "3", "--method", "saliency", "--out", str(other)]) == 0
    assert target.read_bytes() != other.read_bytes()


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        (["--model", "nobody"], 1, "model nobody is not served here"),
        (["--target", "11"], 2, "--target 11: the classes are 0, 1, 2"),
        (["--method", "magic"], 2, "--method magic: mnist has integrated_gradients, "),
        (["--url", f"http://127.0.0.1:{free_port()}"], 1, "Is the server running?"),
        (["--url", "ftp://x"], 2, "is no address of a server"),
    ],
)
def test_what_cannot_be_explained_is_told(
    served: Served, tmp_path: Path, flags: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "digit.png").write_bytes(png(5))
    asked = ["explain", str(tmp_path / "digit.png"), "--url", served.base, "--out", str(tmp_path / "heat.png")]
    assert main([*asked, *flags]) == status
    assert said in capsys.readouterr().err
    assert not (tmp_path / "heat.png").exists()


@pytest.mark.parametrize(
    ("content", "said"), [(None, "no such file"), (b"no picture", "x.png: no picture that can be read")]
)
def test_a_file_that_is_no_image_is_told(
    served: Served, tmp_path: Path, content: Optional[bytes], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "x.png").write_bytes(content)
    assert main(["explain", str(tmp_path / "x.png"), "--url", served.base]) == 2
    assert said in capsys.readouterr().err


def test_a_short_load(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", served.base, "--connections", "1,4", "--seconds", "0.5"]) == 0
    said = capsys.readouterr().out
    rows = re.findall(r"^ +(\d+) +([\d.]+) .* (\d+)$", said, re.MULTILINE)
    assert [(row[0], row[2]) for row in rows] == [("1", "0"), ("4", "0")], said
    assert all(float(row[1]) > 0 for row in rows)


def test_a_load_of_refused_requests_fails(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = tmp_path / "wrong.json"
    request.write_text(json.dumps({"instances": [{"data": "bm8="}]}))
    asked = ["bench", served.base, "--request", str(request), "--connections", "2", "--seconds", "0.2"]
    assert main(asked) == 1
    assert "requests failed; the first: 400: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "share", "wanted"), [([], 0.5, 0), ([3.0], 0.99, 3.0), ([4, 1, 3, 2], 0.5, 2), (range(100), 0.99, 98)]
)
def test_percentiles(values: list[float], share: float, wanted: float) -> None:
    assert bench.percentile(list(values), share) == wanted


def test_words_are_drawn_in_their_colours() -> None:
    words = ["fine", "awful", *["word"] * 40]
    picture = np.asarray(words_image(words, [1.0, -2.0, *[0.0] * 40], "good")).astype(int)
    assert picture.shape[1] == 640
    assert picture.shape[0] > 4 * 34, "several lines and the legend"
    first_line = picture[10]
    assert (first_line[:, 0] - first_line[:, 2] > 30).any()
    assert (first_line[:, 2] - first_line[:, 0] > 60).any()
    assert (picture[:, -3:] == 255).all(), "nothing stands beyond the margin"
    assert words_image([], [], "good").size[0] == 640
