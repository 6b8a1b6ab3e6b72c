"""The network as every peer serves it: the same weights, images decoded and stacked, one forward a batch.

Runs inside the peers' environments: it imports nothing of this project. ``MODEL_DIRECTORY`` holds mnist.py and
mnist_cnn.pt; ``NETWORK`` is ``frozen`` (fused TorchScript, as this project's own handler runs it) or ``eager``.
"""

from __future__ import annotations

import base64
import importlib.util
import inspect
import io
import os
from pathlib import Path
from typing import List, Sequence

import numpy as np
import torch
from PIL import Image

MEAN, DEVIATION = 0.1307, 0.3081


def load() -> torch.nn.Module:
    """The model in evaluation mode, warm for batches of 1 to 64."""
    directory = Path(os.environ["MODEL_DIRECTORY"])
    spec = importlib.util.spec_from_file_location("mnist", directory / "mnist.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    classes = [item for _, item in inspect.getmembers(module, inspect.isclass) if item.__module__ == "mnist"]
    model: torch.nn.Module = classes[0]()
    model.load_state_dict(torch.load(directory / "mnist_cnn.pt", weights_only=True))
    model.eval()
    # As this project's handler does: with as many threads as processors, an operator waits for those that others use.
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    if os.environ.get("NETWORK", "frozen") == "frozen":
        model = torch.jit.freeze(torch.jit.script(model))
    with torch.inference_mode():
        for rows in (1, 2, 3, 4, 8, 16, 32, 64):
            for _ in range(3):
                model(torch.zeros(rows, 1, 28, 28))
    return model


def decode(png: bytes) -> np.ndarray:
    """uint8 [28, 28]."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("L"), dtype=np.uint8)


def decode_base64(text: str) -> np.ndarray:
    return decode(base64.b64decode(text))


def predict(model: torch.nn.Module, images: Sequence[np.ndarray]) -> List[int]:
    """The digits of uint8 images [28, 28]."""
    return predict_floats(model, np.stack(images)[:, None].astype(np.float32) / 255)


def predict_floats(model: torch.nn.Module, rows: np.ndarray) -> List[int]:
    """The digits of float rows [n, 1, 28, 28] in 0..1."""
    with torch.inference_mode():
        batch = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32)).sub_(MEAN).div_(DEVIATION)
        labels: List[int] = model(batch).argmax(1).tolist()
    return labels
