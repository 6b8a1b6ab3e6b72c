"""The MNIST archive: what is in it, and what TorchServe's worker finds when it imports the handler from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import List, Sequence

import pytest

from kserve_wrapper.archiver import build

#: What TorchServe's model loader does with the manifest's handler: the module, its file, the classes it may take.
LOAD = """
import sys
try:
    from ts.utils.util import list_classes_from_module
except ImportError:  # python -S
    list_classes_from_module = lambda m: [v for v in vars(m).values() if getattr(v, "__module__", "") == m.__name__]
import mnist_handler, mnist_handler.requests
print(mnist_handler.__file__)
print(mnist_handler.requests.__file__)
print(*[kind.__name__ for kind in list_classes_from_module(mnist_handler) if isinstance(kind, type)])
"""
#: A finder that knows the package in argv[1], as an editable install puts at the end of sys.meta_path.
EDITABLE = """
import sys
from importlib.util import spec_from_file_location
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        where = sys.argv[1] + "/mnist_handler"
        if name == "mnist_handler":
            return spec_from_file_location(name, where + "/__init__.py", submodule_search_locations=[where])
sys.meta_path.append(Finder)
"""


@pytest.fixture(scope="module")
def archive(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mnist.mar, built and unpacked."""
    folder = tmp_path_factory.mktemp("archive")
    with zipfile.ZipFile(build(root / "model-archiver" / "model-store" / "mnist", folder)) as packed:
        packed.extractall(folder / "unpacked")
    return folder / "unpacked"


def package_files(root: Path) -> List[str]:
    package = root / "mnist_handler"
    return [str(file.relative_to(root)) for file in package.rglob("*") if file.suffix == ".py"] + [
        "mnist_handler/py.typed"
    ]


def load(code: str, path: Sequence[Path], cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run Python in ``cwd`` with ``path`` in front, writing no bytecode."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *options, "-c", code, *map(str, path[1:])]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_files_and_manifest(archive: Path, root: Path) -> None:
    files = sorted(str(file.relative_to(archive)) for file in archive.rglob("*") if file.is_file())
    own = ["mnist.py", "mnist_cnn.pt", "mnist_handler.py", "model-config.yaml"]
    assert files == sorted(["MAR-INF/MANIFEST.json", *own, *package_files(root)])
    store = root / "model-archiver" / "model-store" / "mnist"
    for name in own:
        assert (archive / name).read_bytes() == (store / name).read_bytes()
    manifest = json.loads((archive / "MAR-INF" / "MANIFEST.json").read_text())
    assert manifest["runtime"] == "python"
    assert manifest["model"] == {
        "modelName": "mnist",
        "modelVersion": "1.0",
        "modelFile": "mnist.py",
        "serializedFile": "mnist_cnn.pt",
        "handler": "mnist_handler.py",
        "configFile": "model-config.yaml",
    }


def test_worker_finds_the_archives_package(archive: Path, tmp_path: Path) -> None:
    done = load(LOAD, [archive], tmp_path)
    assert done.returncode == 0, done.stderr
    package = archive / "mnist_handler"
    assert done.stdout.splitlines() == [
        str(package / "__init__.py"),
        str(package / "requests.py"),
        "MNISTDigitClassifier",
    ]


def test_documents_command(root: Path, tmp_path: Path) -> None:
    """The document's torch-model-archiver command packs no package; the worker finds the installed one."""
    store = "model-archiver/model-store/mnist"
    archiver = Path(sys.executable).with_name("torch-model-archiver")
    command = [str(archiver), "--model-name", "mnist", "--version", "1.0"]
    command += ["--model-file", f"{store}/mnist.py", "--serialized-file", f"{store}/mnist_cnn.pt"]
    command += ["--handler", f"{store}/mnist_handler.py", "--export-path", str(tmp_path)]
    (tmp_path / "tmp").mkdir()
    subprocess.run(command, cwd=root, env={**os.environ, "TMPDIR": str(tmp_path / "tmp")}, check=True)
    with zipfile.ZipFile(tmp_path / "mnist.mar") as packed:
        packed.extractall(tmp_path / "unpacked")
    done = load(LOAD, [tmp_path / "unpacked", root], tmp_path)
    assert done.returncode == 0, done.stderr
    package = root / "mnist_handler"
    assert done.stdout.splitlines() == [
        str(package / "__init__.py"),
        str(package / "requests.py"),
        "MNISTDigitClassifier",
    ]


@pytest.fixture
def alone(root: Path, tmp_path: Path) -> Path:
    """A folder with mnist_handler.py and nothing else."""
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copy(root / "model-archiver" / "model-store" / "mnist" / "mnist_handler.py", folder)
    return folder


@pytest.mark.parametrize("editable", [False, True])
def test_lone_handler_becomes_the_installed_package(alone: Path, tmp_path: Path, editable: bool) -> None:
    package = tmp_path / "installed" / "mnist_handler"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from .requests import Base\n"
        "from mnist_handler import requests\n"
        "class MNISTDigitClassifier(requests.Base):\n    pass\n"
    )
    (package / "requests.py").write_text("class Base:\n    pass\n")
    code = LOAD
    if editable:  # on no path, known to a finder only
        code = EDITABLE + f"sys.path.remove(sys.argv[1])\n{LOAD}"
    done = load(code, [alone, package.parent], tmp_path, "-S")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        str(package / "__init__.py"),
        str(package / "requests.py"),
        "MNISTDigitClassifier",
    ]


def test_lone_handler_without_package_says_so(alone: Path, tmp_path: Path) -> None:
    done = load(LOAD, [alone], tmp_path, "-S")
    assert done.returncode == 1
    assert "RuntimeError: the package mnist_handler is not installed where this worker runs" in done.stderr
