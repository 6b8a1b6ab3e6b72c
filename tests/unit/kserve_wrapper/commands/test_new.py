"""``ts-kserve new``: each kind's folder builds, loads as TorchServe would, and passes its own test as it is."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, Tuple

import pytest

from kserve_wrapper.archiver import read_description
from kserve_wrapper.commands import new
from kserve_wrapper.modelstore import trial

#: Trains the folders' models one after the other, which imports torch once.
TRAIN = """
import runpy, sys
for folder in sys.argv[1:]:
    sys.path.insert(0, folder)
    runpy.run_path(folder + "/train.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Tuple[Path, str]]:
    """Of each kind its folder, and what its own test said; two at a time."""
    if trial.missing():
        pytest.skip(f"{trial.missing()} is not installed")
    base = tmp_path_factory.mktemp("new")
    folders = {kind: base / f"my_{kind}" for kind in new.KINDS}
    for kind, folder in folders.items():
        new.write(folder, kind)
    trained = _said([sys.executable, "-c", TRAIN, *map(str, folders.values())], base)
    assert trained.endswith("status 0"), trained
    with ThreadPoolExecutor(2) as pool:
        said = pool.map(lambda folder: _said([sys.executable, "-m", "unittest"], folder), folders.values())
        return {kind: (folder, text) for (kind, folder), text in zip(folders.items(), said)}


def _said(command: List[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return f"{done.stdout}{done.stderr}\nstatus {done.returncode}"


@pytest.mark.parametrize("kind", list(new.KINDS))
def test_every_kind_passes_its_own_test(tested: Dict[str, Tuple[Path, str]], kind: str) -> None:
    folder, ran = tested[kind]
    assert "Ran 1 test" in ran, ran
    assert ran.endswith("OK\n\nstatus 0"), ran
    assert read_description(folder)["handler"] == f"my_{kind}_handler.py"
    for file in folder.iterdir():
        assert "emplate" not in file.name + (file.read_text() if file.suffix != ".pt" and file.is_file() else "")


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
