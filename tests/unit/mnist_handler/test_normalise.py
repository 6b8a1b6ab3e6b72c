"""The normalisation is torchvision's, for pixels and for values of 0..1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2

from mnist_handler import Block, ImageClassifier, RowHandler
from mnist_handler.inputs.parameters import Asked
from tests.unit.mnist_handler.conftest import start


def prepared(handler: RowHandler, values: np.ndarray[Any, Any]) -> torch.Tensor:
    decoded = handler.decode([("x", Block(values))], Asked({}))
    return handler.preprocess([decoded])[0]


def test_one_channel(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    reference = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.1307], [0.3081])])
    wanted = reference(torch.from_numpy(digits[:20]))
    torch.testing.assert_close(prepared(handler, digits[:20]), wanted, rtol=1e-5, atol=1e-6)
    floats = digits[:20].astype(np.float32) / 255
    torch.testing.assert_close(prepared(handler, floats), wanted, rtol=1e-5, atol=1e-6)


def test_three_channels(tmp_path: Path) -> None:
    class Small(ImageClassifier):
        row_shape = (3, 6, 5)

    (tmp_path / "mean.py").write_text(
        "from torch import nn\nclass M(nn.Module):\n    def forward(self, x):\n        return x.mean((2, 3))\n"
    )
    handler = start(tmp_path, {"device_batch_limit": 1}, Small, model_file="mean.py", weights=None)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 6, 5), dtype=np.uint8)
    scale = v2.ToDtype(torch.float32, scale=True)
    wanted = v2.Compose([scale, v2.Normalize(list(Small.mean), list(Small.std))])(torch.from_numpy(pixels))
    torch.testing.assert_close(prepared(handler, pixels), wanted, rtol=1e-5, atol=1e-6)
