"""A real handler on the committed model, in TorchServe's real context, without a server."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any, Dict, Optional, Type

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

# TorchServe leaves a file open while it is imported; that warning is not ours to fix.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ts.context import Context, RequestProcessor  # noqa: F401

    from mnist_handler import MNISTDigitClassifier, RowHandler

# A busy machine is no failure.
settings.register_profile("mnist_handler", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mnist_handler")

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "model-archiver" / "model-store" / "mnist"
SAMPLE = ROOT / "tests" / "data" / "mnist_sample.npz"


class Metrics:
    """Takes what TorchServe's metrics cache takes, and keeps it."""

    def __init__(self) -> None:
        self.seen: Dict[str, float] = {}
        self.calls = 0

    def add_metric(self, name: str, value: float, unit: str, dimensions: Any) -> None:
        assert dimensions == []
        self.calls += 1
        self.seen[name] = self.seen.get(name, 0) + value


def make_context(
    folder: Path,
    config: Optional[Dict[str, Any]] = None,
    limit_pixels: bool = True,
    model_file: str = "mnist.py",
    weights: Optional[str] = "mnist_cnn.pt",
    gpu: Optional[int] = None,
) -> Any:
    model = {"modelName": "mnist", "modelVersion": "1.0", "modelFile": model_file}
    if weights is not None:
        model["serializedFile"] = weights
    settings = {} if config is None else {"handler": config}
    return Context("mnist", str(folder), {"model": model}, 1, gpu, "0.12.0", limit_pixels, Metrics(), settings)


def start(
    folder: Path, config: Dict[str, Any], kind: Type[RowHandler] = MNISTDigitClassifier, **named: Any
) -> RowHandler:
    handler = kind()
    handler.initialize(make_context(folder, config, **named))
    return handler


def copy_archive(folder: Path) -> Path:
    """The files of mnist.mar that the handler reads, in a folder."""
    for name in ("mnist.py", "mnist_cnn.pt"):
        shutil.copy(MODEL / name, folder)
    return folder


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_archive(tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="session")
def handler(archive: Path) -> RowHandler:
    """Batches of up to 8 rows in sizes 1, 2, 4 and 8, so that tests meet padding and chunks."""
    return start(archive, {"max_batch_size": 8, "batch_buckets": [1, 2, 4, 8], "metrics_interval": 0})


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> RowHandler:
    folder = copy_archive(tmp_path_factory.mktemp("labelled"))
    names = {str(digit): f"digit {digit}" for digit in range(10)}
    (folder / "index_to_name.json").write_text(json.dumps(names))
    return start(folder, {"max_batch_size": 4})


@pytest.fixture(scope="session")
def digits() -> np.ndarray[Any, Any]:
    """Real test images, uint8 [n, 1, 28, 28]."""
    with np.load(SAMPLE) as sample:
        return np.asarray(sample["images"])[:, None]


@pytest.fixture(scope="session")
def model_inputs(digits: np.ndarray[Any, Any]) -> torch.Tensor:
    """The first 12 images as the model takes them."""
    return torch.from_numpy(digits[:12]).float().div(255).sub(0.1307).div(0.3081)
