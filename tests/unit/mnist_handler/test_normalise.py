"""The normalisation is torchvision's, for pixels and for values of 0..1."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2 as transforms

from mnist_handler import ImageClassifier, InputValues, RowHandler
from mnist_handler.config import ConfigError, parse_config
from mnist_handler.inputs.parameters import PREDICT_KEYS, RequestParameters, collect
from tests.samples import ROOT
from tests.unit.mnist_handler.conftest import start
from tests.unit.mnist_handler.helpers import ask_one, labels, png, refusal, v1, v2


def prepared(handler: RowHandler, values: np.ndarray[Any, Any]) -> torch.Tensor:
    decoded = handler.decode([("x", InputValues(values))], RequestParameters({}))
    return handler.preprocess([decoded])[0]


def test_one_channel(handler: RowHandler, digits: np.ndarray[Any, Any]) -> None:
    reference = transforms.Compose(
        [transforms.ToDtype(torch.float32, scale=True), transforms.Normalize([0.1307], [0.3081])]
    )
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
    handler = start(tmp_path, {"max_batch_size": 1}, Small, model_file="mean.py", weights=None)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 6, 5), dtype=np.uint8)
    scale = transforms.ToDtype(torch.float32, scale=True)
    wanted = transforms.Compose([scale, transforms.Normalize(list(Small.mean), list(Small.std))])(
        torch.from_numpy(pixels)
    )
    torch.testing.assert_close(prepared(handler, pixels), wanted, rtol=1e-5, atol=1e-6)


def test_the_setting_says_what_floats_mean(archive: Path, digits: np.ndarray[Any, Any]) -> None:
    """KServe's transformer sends normalised floats and no parameter; pixels and images mean what they always do."""
    config = {"max_batch_size": 4, "batch_buckets": [1, 4], "tensors": "normalized"}
    handler = start(archive, config)
    assert handler.describe_handle()["tensors"] == "normalized"
    ready = ((digits[:1] / 255 - 0.1307) / 0.3081).astype(np.float32)
    requests = [
        *(v2(ready), v1(ready[0].tolist()), v2(digits[:1]), v1(png(digits[0])), v1(digits[0].tolist())),
        v2((digits[:1] / 255).astype(np.float32), normalized=False),
    ]
    wanted = labels(ask_one(handler, v1(png(digits[0]))))
    for request in requests:
        answer = ask_one(handler, request)
        assert labels(answer) == wanted
    tensors = [handler.preprocess([handler.decode(one.inputs, collect(one, PREDICT_KEYS))])[0] for one in requests]
    for tensor in tensors:
        torch.testing.assert_close(tensor, tensors[0], rtol=1e-4, atol=1e-4)


def test_the_environment_may_say_it(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_HANDLER_TENSORS", "normalized")
    assert parse_config(None).tensors == "normalized"
    assert parse_config({"tensors": "unit"}).tensors == "unit"
    monkeypatch.setenv("MNIST_HANDLER_TENSORS", "other")
    with pytest.raises(ConfigError, match=r"handler\.tensors: 'other' is none of unit, normalized"):
        parse_config({})


def test_the_refusal_names_the_setting(handler: RowHandler) -> None:
    error = refusal(handler, v2(np.full((1, 1, 28, 28), 2.8, np.float32)))
    assert "tensors: normalized" in error.message


def test_torchvision_is_not_imported() -> None:
    """It would cost each worker 80 MB; a model may still be one of its."""
    code = "import sys, mnist_handler; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
