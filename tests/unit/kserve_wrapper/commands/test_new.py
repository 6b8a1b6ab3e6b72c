"""``ts-kserve new``: each kind's folder builds, loads as TorchServe would, and passes its own test as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kserve_wrapper.archiver import read_description
from kserve_wrapper.commands import new
from kserve_wrapper.modelstore import trial


@pytest.mark.parametrize("kind", list(new.KINDS))
def test_every_kind_passes_its_own_test(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    if trial.missing():
        pytest.skip(f"{trial.missing()} is not installed")
    folder = tmp_path / "shape_of_mine"
    assert new.main([str(folder), "--kind", kind]) == 0
    assert "ts-kserve serve " in capfd.readouterr().out
    assert read_description(folder)["handler"] == "shape_of_mine_handler.py"
    for file in folder.iterdir():
        assert "emplate" not in file.name + (file.read_text() if file.suffix != ".pt" and file.is_file() else "")
    ran = subprocess.run([sys.executable, "-m", "unittest"], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "Ran 1 test" in ran.stderr


def test_the_kinds_are_the_templates() -> None:
    assert set(new.KINDS) == {path.name for path in new.TEMPLATES.iterdir() if not path.name.startswith("_")}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("json", "would hide the installed module json"),
        ("mnist", "would hide the installed module mnist_handler"),
        ("torch", "would hide the installed module torch"),
        ("my-model", "small letters, digits and _"),
        ("class", "is no name for a model"),
        ("2nd", "is no name for a model"),
    ],
)
def test_a_name_that_cannot_be_is_refused(
    tmp_path: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new.main([str(tmp_path / name)]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_what_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    assert new.main([str(tmp_path / "mine")]) == 2
    assert "not empty; nothing was changed" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
