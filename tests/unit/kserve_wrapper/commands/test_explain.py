"""``ts-kserve explain``: a text's explanation as a picture and as a page; other files are refused before it asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest
from PIL import Image

from kserve_wrapper.commands import explain
from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.trying.client import Server
from tests.unit.kserve_wrapper.trying.test_asking import EXPLAINED, TEXT, told
from tests.unit.kserve_wrapper.trying.test_forms import metadata

__all__ = ["told"]
IMAGES = metadata(("input-0", "UINT8", [3, 8, 8]), labels=["<a>", "b"], optional_outputs=[{"name": "explain"}])


@pytest.fixture
def base(told: Tuple[Server, Dict[str, Tuple[int, bytes]]]) -> str:
    """A server of a model for text and of one for images."""
    server, paths = told
    for name, about in ("m", TEXT), ("pictures", IMAGES):
        paths[f"/v2/models/{name}"] = (200, json.dumps(about).encode())
    hostile: Dict[str, Any] = json.loads(json.dumps(EXPLAINED).replace('"film"', '"<film>"'))
    paths["/v2/models/m/explain"] = (200, json.dumps(hostile).encode())
    return server.base


def test_a_text_is_explained_as_a_picture_or_as_a_page(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["a <film>", "--url", base, "--model", "m", "--out"]
    assert explain.main([*asked, str(tmp_path / "words.PNG")]) == 0, capsys.readouterr().err
    assert (tmp_path / "words.PNG").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == "for good: a +0.1 <film> +2\n"
    assert explain.main([*asked, str(tmp_path / "words.html")]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out == "for good: a +0.1 <film> +2\n"
    page = (tmp_path / "words.html").read_text(encoding="utf-8")
    assert page.startswith('<!doctype html>\n<html><head><meta charset="utf-8"><title>m: good</title></head>')
    assert "&lt;film&gt;</span>" in page
    assert "<film>" not in page
    assert "speaks for good" in page
    assert "http" not in page, "it needs nothing from elsewhere"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("t.svg", ".svg is not written here: NAME.png, or of a text NAME.html"),
        ("t.jpg", ".jpg is not written here"),
        ("no/t.png", "there is no directory"),
    ],
)
def test_a_file_that_cannot_be_is_refused_before_anything_is_asked(
    tmp_path: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        explain.main(["x", "--url", f"http://127.0.0.1:{free_port()}", "--out", str(tmp_path / name)])
    assert ended.value.code == 2
    assert f"--out: {tmp_path / name}: " in (err := capsys.readouterr().err)
    assert said in err


def test_no_page_of_an_image(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    asked = [str(tmp_path / "x.png"), "--url", base, "--model", "pictures", "--out", str(tmp_path / "x.html")]
    assert explain.main(asked) == 2
    assert "pictures takes images, whose explanation is a picture: write NAME.png" in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()
