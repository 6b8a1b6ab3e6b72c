"""The model store that the stock tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.serving import build_archive


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model-store")
    build_archive(folder)
    return folder
