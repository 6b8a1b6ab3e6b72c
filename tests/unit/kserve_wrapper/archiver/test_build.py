"""Archives of small models made for the purpose."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Dict

import pytest

from kserve_wrapper.archiver import BuildError, build, read_description

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model store with the model "tiny", and the package "helpers" where Python finds it."""
    folder = tmp_path / "store" / "tiny"
    folder.mkdir(parents=True)
    for name in ("tiny.py", "tiny_handler.py", "tiny.pt", "index_to_name.json"):
        (folder / name).write_text(name)
    package = tmp_path / "repository" / "helpers" / "inner"
    (package / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "py.typed", "inner/__init__.py", "inner/code.py", "notes.md"):
        (package.parent / name).write_text(name)
    (package / "__pycache__" / "code.pyc").write_bytes(b"compiled")
    monkeypatch.syspath_prepend(tmp_path / "repository")
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


def test_archive(store: Path, tmp_path: Path) -> None:
    describe(store)
    out = tmp_path / "new" / "folder"
    assert build(store / "tiny", out) == out / "tiny.mar"
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


def test_handler_of_torchserve(store: Path, tmp_path: Path) -> None:
    describe(store, handler="image_classifier", packages=None, extra_files=None)
    with zipfile.ZipFile(build(store / "tiny", tmp_path, version="3.0")) as archive:
        assert sorted(archive.namelist()) == ["MAR-INF/MANIFEST.json", "index_to_name.json", "tiny.pt", "tiny.py"]
        model = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
    assert (model["handler"], model["modelVersion"]) == ("image_classifier", "3.0")


def test_same_files_same_bytes(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    describe(store)
    first = build(store / "tiny", tmp_path / "1").read_bytes()
    (store / "tiny" / "tiny.pt").touch()
    assert build(store / "tiny", tmp_path / "2").read_bytes() == first
    (store / "tiny" / "tiny.pt").write_text("other weights")
    assert build(store / "tiny", tmp_path / "2").read_bytes() != first, "an older archive is replaced"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": None}, "version is missing"),
        ({"wieghts": "tiny.pt"}, "unknown key 'wieghts'; known are "),
        ({"compile_ahead": "yes"}, "compile_ahead is no, or left out"),
        ({"packages": "helpers"}, "packages must be a list of texts"),
        ({"extra_files": [1]}, "extra_files must be a list of texts"),
        ({"model_file": ["tiny.py"]}, "model_file must be a text"),
        ({"serialized_file": "none.pt"}, "none.pt is missing. Make it first: make the-weights"),
        ({"handler": "none.py"}, "none.py is missing"),
        ({"extra_files": ["none.json"]}, "none.json is missing"),
        ({"packages": ["none"]}, "mar.json: packages names none, and there is no such package"),
        ({"packages": ["no/ne"]}, "packages names 'no/ne', which is no name of a package"),
        ({"handler": "tiny_handlr"}, "no file tiny_handlr .* not one of TorchServe's handlers, base_handler, "),
        ({"handler": "tiny_handler"}, "did you mean tiny_handler.py"),
        ({"serialized_file": None}, "model_file without serialized_file: .* random weights"),
        ({"model_file": None, "model_class": "Tiny"}, "model_class names a class of model_file, which is missing"),
        ({"version": "1/0"}, "version '1/0' must be of letters"),
        ({"version": "1.0\n"}, "must be of letters"),
    ],
)
def test_bad_description(store: Path, tmp_path: Path, changes: Dict[str, Any], message: str) -> None:
    describe(store, **changes)
    with pytest.raises(BuildError, match=message):
        build(store / "tiny", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["class Handler:\n    pass\n", "def handle(data, context):\n    return data\n"])
def test_a_handler_that_a_packed_package_hides_is_refused(store: Path, tmp_path: Path, content: str) -> None:
    (store / "tiny" / "helpers.py").write_text(content)
    describe(store, handler="helpers.py")
    with pytest.raises(BuildError, match=r"helpers.py is named like the package helpers, .* never this file"):
        build(store / "tiny", tmp_path)


def test_without_the_archiver_it_says_what_to_install(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(store)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "model_archiver" else find(name, *rest)
    )
    with pytest.raises(BuildError, match="torch-model-archiver is not installed"):
        build(store / "tiny", tmp_path)


def test_version_of_the_command(store: Path, tmp_path: Path) -> None:
    describe(store)
    with pytest.raises(BuildError, match="--version: version 'a b'"):
        build(store / "tiny", tmp_path / "out", version="a b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("handler:\n  warm: 3\n", "model-config.yaml: handler: unknown warm; known are "),
        ("handler:\n  precision: fp8\n", "handler.precision: 'fp8' is none of fp32, bf16, fp16"),
        ("a: 1\nhandler: [b\n", r"model-config.yaml, line 2: is not YAML: [^\n]+\Z"),
        ("a: b: c\n", r"model-config.yaml, line 1: is not YAML: [^\n]+\Z"),
        ("- handler\n", "must hold a mapping"),
        ("minWorkers: 1\n", ""),
        ("", ""),
    ],
)
def test_settings_are_checked(store: Path, text: str, message: str) -> None:
    (store / "tiny" / "model-config.yaml").write_text(text)
    describe(store, config_file="model-config.yaml", packages=["mnist_handler"])
    if not message:
        assert read_description(store / "tiny")["version"] == "2.5"
        return
    with pytest.raises(BuildError, match=message):
        read_description(store / "tiny")
    describe(store, config_file="model-config.yaml", packages=None)
    assert read_description(store / "tiny"), "another handler's section has its own rules"


def test_a_package_left_out_is_told(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    describe(store)
    build(store / "tiny", tmp_path)
    assert capsys.readouterr().err == ""
    (store / "tiny" / "tiny_handler.py").write_text("import os\nfrom mnist_handler import RowHandler\n")
    build(store / "tiny", tmp_path)
    assert "warning: tiny_handler.py imports mnist_handler, which " in capsys.readouterr().err


def test_requirements_that_are_not_packed_are_told(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store / "tiny" / "requirements.txt").write_text("pandas\n")
    describe(store)
    build(store / "tiny", tmp_path)
    assert (
        'requirements.txt is not packed: write "requirements_file": "requirements.txt" into' in capsys.readouterr().err
    )
    describe(store, requirements_file="requirements.txt")
    build(store / "tiny", tmp_path)
    assert capsys.readouterr().err == ""


def test_settings_are_checked_without_torch() -> None:
    check = "import sys, pathlib; from kserve_wrapper.archiver import read_description; " + (
        "read_description(pathlib.Path('model-archiver/model-store/mnist')); "
        "assert 'kserve_wrapper_archiver_config' in sys.modules; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_files_with_the_usual_names_are_packed_by_themselves(store: Path, tmp_path: Path) -> None:
    (store / "tiny" / "model-config.yaml").write_text("minWorkers: 1\n")
    describe(store, extra_files=None, packages=None)
    with zipfile.ZipFile(build(store / "tiny", tmp_path)) as archive:
        assert {"index_to_name.json", "model-config.yaml"} <= set(archive.namelist())
        assert json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]["configFile"] == "model-config.yaml"


def test_a_package_beside_the_description_comes_first(store: Path, tmp_path: Path) -> None:
    (store / "tiny" / "helpers").mkdir()
    (store / "tiny" / "helpers" / "__init__.py").write_text("the folder's own")
    describe(store)
    with zipfile.ZipFile(build(store / "tiny", tmp_path)) as archive:
        assert archive.read("helpers/__init__.py").decode() == "the folder's own"
        assert "helpers/inner/code.py" not in archive.namelist()


def test_command_says_what_is_wrong(store: Path, tmp_path: Path) -> None:
    script = [str(ROOT / "model-archiver" / "build_mar.py"), "--out", str(tmp_path / "out"), "--store", str(store)]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)

    describe(store, packages=None)
    unknown = run(*script, "--model", "none")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "no model none" in unknown.stderr
    assert "Models here: tiny" in unknown.stderr
    bare = run("-S", *script, "--model", "tiny")  # without site-packages
    assert bare.returncode == 2
    assert "is not installed" in bare.stderr
    assert "pip install 'ts-kserve-wrapper[serve]'" in bare.stderr
    (store / "tiny" / "mar.json").write_text("{")
    broken = run(*script, "--model", "tiny")
    assert broken.returncode == 1
    assert "mar.json is not JSON" in broken.stderr
    assert "mar.json" in run(script[0], "--help").stdout
