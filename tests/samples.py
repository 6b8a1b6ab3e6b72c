"""The committed sample of real test images, and what the committed model says of each."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests" / "data" / "mnist_sample.npz"
MODEL = ROOT / "model-archiver" / "model-store" / "mnist"


@cache
def images() -> np.ndarray[Any, Any]:
    """uint8 [n, 28, 28]."""
    with np.load(SAMPLE) as sample:
        return np.asarray(sample["images"])


@cache
def model() -> torch.nn.Module:
    """The committed classifier with its weights, in eval mode."""
    specification = importlib.util.spec_from_file_location("mnist_model", MODEL / "mnist.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    network: torch.nn.Module = module.MNISTClassifier()
    network.load_state_dict(torch.load(MODEL / "mnist_cnn.pt", map_location="cpu", weights_only=True))
    return network.eval()


@cache
def predicted() -> list[int]:
    """The digit that the model, called directly in float32, sees in each image of the sample."""
    pixels = torch.from_numpy(images()).float().div(255).sub(0.1307).div(0.3081).unsqueeze(1)
    with torch.inference_mode():
        return [int(digit) for digit in model()(pixels).argmax(1)]
