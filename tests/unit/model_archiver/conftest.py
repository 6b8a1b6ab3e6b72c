"""The scripts of model-archiver/, which is no package, as modules."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


def load(path: Path) -> ModuleType:
    """Import a file under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"tested_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def convert() -> ModuleType:
    return load(ROOT / "kserve_wrapper" / "commands" / "convert.py")


@pytest.fixture(scope="session")
def mnist() -> ModuleType:
    return load(ROOT / "model-archiver" / "model-store" / "mnist" / "mnist.py")
