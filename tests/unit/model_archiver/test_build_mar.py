"""build_mar.py on small models made for the purpose."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any, Dict

import pytest


@pytest.fixture
def store(tmp_path: Path, build_mar: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model store with the model "tiny", and a repository with the package "helpers"."""
    folder = tmp_path / "store" / "tiny"
    folder.mkdir(parents=True)
    for name in ("tiny.py", "tiny_handler.py", "tiny.pt", "index_to_name.json"):
        (folder / name).write_text(name)
    package = tmp_path / "repository" / "helpers" / "inner"
    (package / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "py.typed", "inner/__init__.py", "inner/code.py", "notes.md"):
        (package.parent / name).write_text(name)
    (package / "__pycache__" / "code.pyc").write_bytes(b"compiled")
    monkeypatch.setattr(build_mar, "ROOT", tmp_path / "repository")
    return folder.parent


def describe(store: Path, **changes: Any) -> None:
    description: Dict[str, Any] = {
        "version": "2.5",
        "handler": "tiny_handler.py",
        "model_file": "tiny.py",
        "serialized_file": "tiny.pt",
        "extra_files": ["index_to_name.json"],
        "packages": ["helpers"],
        "train": "make the-weights",
    }
    description.update(changes)
    description = {key: value for key, value in description.items() if value is not None}
    (store / "tiny" / "mar.json").write_text(json.dumps(description))


def test_archive(build_mar: ModuleType, store: Path, tmp_path: Path) -> None:
    describe(store)
    out = tmp_path / "new" / "folder"
    assert build_mar.build("tiny", out, store) == out / "tiny.mar"
    assert list(out.iterdir()) == [out / "tiny.mar"], "nothing but the archive is left"
    with zipfile.ZipFile(out / "tiny.mar") as archive:
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
        files = {name: archive.read(name).decode() for name in archive.namelist() if name != "MAR-INF/MANIFEST.json"}
    assert files == {
        "helpers/__init__.py": "__init__.py",
        "helpers/inner/__init__.py": "inner/__init__.py",
        "helpers/inner/code.py": "inner/code.py",
        "helpers/py.typed": "py.typed",
        "index_to_name.json": "index_to_name.json",
        "tiny.pt": "tiny.pt",
        "tiny.py": "tiny.py",
        "tiny_handler.py": "tiny_handler.py",
    }
    assert manifest["model"] == {
        "modelName": "tiny",
        "serializedFile": "tiny.pt",
        "handler": "tiny_handler.py",
        "modelFile": "tiny.py",
        "modelVersion": "2.5",
    }


def test_handler_of_torchserve(build_mar: ModuleType, store: Path, tmp_path: Path) -> None:
    describe(store, handler="image_classifier", packages=None, extra_files=None)
    with zipfile.ZipFile(build_mar.build("tiny", tmp_path, store, version="3.0")) as archive:
        assert sorted(archive.namelist()) == ["MAR-INF/MANIFEST.json", "tiny.pt", "tiny.py"]
        model = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
    assert (model["handler"], model["modelVersion"]) == ("image_classifier", "3.0")


def test_same_files_same_bytes(
    build_mar: ModuleType, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    describe(store)
    first = build_mar.build("tiny", tmp_path / "1", store).read_bytes()
    (store / "tiny" / "tiny.pt").touch()
    assert build_mar.build("tiny", tmp_path / "2", store).read_bytes() == first
    (store / "tiny" / "tiny.pt").write_text("other weights")
    assert build_mar.build("tiny", tmp_path / "2", store).read_bytes() != first, "an older archive is replaced"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": None}, "version is missing"),
        ({"wieghts": "tiny.pt"}, "unknown key 'wieghts'; known are "),
        ({"packages": "helpers"}, "packages must be a list of texts"),
        ({"extra_files": [1]}, "extra_files must be a list of texts"),
        ({"model_file": ["tiny.py"]}, "model_file must be a text"),
        ({"serialized_file": "none.pt"}, "none.pt is missing. Make it first: make the-weights"),
        ({"handler": "none.py"}, "none.py is missing"),
        ({"extra_files": ["none.json"]}, "none.json is missing"),
        ({"packages": ["none"]}, "mar.json: packages names none, and there is no such package"),
        ({"handler": "tiny_handlr"}, "no file tiny_handlr .* not one of TorchServe's handlers, base_handler, "),
        ({"handler": "tiny_handler"}, "did you mean tiny_handler.py"),
        ({"serialized_file": None}, "model_file without serialized_file: .* random weights"),
        ({"version": "1/0"}, "version '1/0' must be of letters"),
        ({"version": "1.0\n"}, "must be of letters"),
    ],
)
def test_bad_description(
    build_mar: ModuleType, store: Path, tmp_path: Path, changes: Dict[str, Any], message: str
) -> None:
    describe(store, **changes)
    with pytest.raises(build_mar.BuildError, match=message):
        build_mar.build("tiny", tmp_path / "out", store)
    assert not (tmp_path / "out").exists()


def test_version_of_the_command(build_mar: ModuleType, store: Path, tmp_path: Path) -> None:
    describe(store)
    with pytest.raises(build_mar.BuildError, match="--version: version 'a b'"):
        build_mar.build("tiny", tmp_path / "out", store, version="a b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("handler:\n  warm: 3\n", "model-config.yaml: handler: unknown warm; known are "),
        ("handler:\n  precision: fp8\n", "handler.precision: 'fp8' is none of fp32, bf16, fp16"),
        ("handler: [\n", "model-config.yaml: "),
        ("- handler\n", "must hold a mapping"),
        ("minWorkers: 1\n", ""),
        ("", ""),
    ],
)
def test_settings_are_checked(
    build_mar: ModuleType, root: Path, store: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setattr(build_mar, "ROOT", root)
    (store / "tiny" / "model-config.yaml").write_text(text)
    describe(store, config_file="model-config.yaml", packages=["mnist_handler"])
    if not message:
        assert build_mar.read_description(store / "tiny")["version"] == "2.5"
        return
    with pytest.raises(build_mar.BuildError, match=message):
        build_mar.read_description(store / "tiny")
    describe(store, config_file="model-config.yaml", packages=None)
    assert build_mar.read_description(store / "tiny"), "another handler's section has its own rules"


def test_a_package_left_out_is_told(
    build_mar: ModuleType, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(store)
    build_mar.build("tiny", tmp_path, store)
    assert capsys.readouterr().err == ""
    (store / "tiny" / "tiny_handler.py").write_text("import os\nfrom mnist_handler import RowHandler\n")
    build_mar.build("tiny", tmp_path, store)
    assert "warning: tiny_handler.py imports mnist_handler, which " in capsys.readouterr().err


def test_settings_are_checked_without_torch(root: Path) -> None:
    check = "import sys, pathlib; sys.path.insert(0, 'model-archiver'); import build_mar; " + (
        "build_mar.read_description(pathlib.Path('model-archiver/model-store/mnist')); "
        "assert 'build_mar_config' in sys.modules; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=root, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_command_says_what_is_wrong(root: Path, store: Path, tmp_path: Path) -> None:
    script = [str(root / "model-archiver" / "build_mar.py"), "--out", str(tmp_path / "out"), "--store", str(store)]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)

    describe(store, packages=None)
    unknown = run(*script, "--model", "none")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "no model none" in unknown.stderr
    assert "Models here: tiny" in unknown.stderr
    bare = run("-S", *script, "--model", "tiny")  # without site-packages
    assert bare.returncode == 1
    assert "torch-model-archiver is not installed" in bare.stderr
    (store / "tiny" / "mar.json").write_text("{")
    broken = run(*script, "--model", "tiny")
    assert broken.returncode == 1
    assert "mar.json is not JSON" in broken.stderr
    assert "MAR" in run(script[0], "--help").stdout
