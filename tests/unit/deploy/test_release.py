"""A release's files: links that hold on an index, and no file of the packages left out."""

from __future__ import annotations

import importlib.util
import re
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from kserve_wrapper._version import __version__
from scripts import newcomer, release
from tests.unit.deploy.manifests import ROOT


@pytest.fixture(scope="module")
def setup_file() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_of_the_project", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_are_absolute_where_the_project_has_an_address(setup_file: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    text = setup_file.absolute(readme, "https://example.org/owner/project/", setup_file.version())
    assert release.relative_links(text) == []
    assert f"](https://example.org/owner/project/raw/v{__version__}/docs/explanation.png)" in text
    assert f"](https://example.org/owner/project/blob/v{__version__}/docs/handler.md)" in text
    assert "](#your-own-model)" in text


def test_without_an_address_words_are_left_and_no_link_leads_nowhere(setup_file: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    text = setup_file.absolute(readme, "", __version__)
    assert release.relative_links(text) == []
    assert "explanation.png" not in text
    assert "docs/handler.md" in text, "the words of its link"
    assert re.findall(r"(?m)^```", text) == re.findall(r"(?m)^```", readme), "code is as it was"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[a](b.md) [c](https://d) [e](#f)", "[a](U/blob/v1/b.md) [c](https://d) [e](#f)"),
        ("![a](b.png)", "![a](U/raw/v1/b.png)"),
        ("[`a[0]`](b.md#c)", "[`a[0]`](U/blob/v1/b.md#c)"),
    ],
)
def test_links(setup_file: ModuleType, text: str, wanted: str) -> None:
    assert setup_file.absolute(text, "U", "1") == wanted


def test_a_wheel_that_lacks_a_file_is_unfit(tmp_path: Path) -> None:
    wheel = tmp_path / "ts_kserve_wrapper-1-py3-none-any.whl"
    left_out = "kserve_wrapper/commands/templates/image/mar.json"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("ts_kserve_wrapper-1.dist-info/METADATA", "Name: x\n\nno links\n")
        for name in release.sources() - {left_out}:
            packed.writestr(name, "")
    with pytest.raises(release.Unfit, match=re.escape(f"lacks {left_out}: name them")):
        release.check(wheel)
    with zipfile.ZipFile(wheel, "a") as packed:
        packed.writestr(left_out, "")
    release.check(wheel)


def test_the_newcomers_environment_knows_no_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "x")
    monkeypatch.setenv("TS_KSERVE_HTTP_PORT", "1")
    assert not {"PYTHONPATH", "TS_KSERVE_HTTP_PORT"} & newcomer.clean_environment().keys()
