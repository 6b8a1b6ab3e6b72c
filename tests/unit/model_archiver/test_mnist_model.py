"""The committed weights: how good, how large, and fit for what the handler does with them."""

from __future__ import annotations

import base64
import inspect
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn


@pytest.fixture(scope="module")
def weights(root: Path) -> Path:
    return root / "model-archiver" / "model-store" / "mnist" / "mnist_cnn.pt"


@pytest.fixture(scope="module")
def model(mnist: ModuleType, weights: Path) -> nn.Module:
    classes = [kind for _, kind in inspect.getmembers(mnist, inspect.isclass) if kind.__module__ == mnist.__name__]
    assert len(classes) == 1, "TorchServe takes the only class of the file"
    made: nn.Module = classes[0]()
    made.load_state_dict(torch.load(weights, weights_only=True))
    return made.eval()


def prepare(images: np.ndarray) -> torch.Tensor:
    """uint8 [n, 28, 28] to the model's input."""
    return ((torch.from_numpy(images).float() / 255 - 0.1307) / 0.3081).unsqueeze(1)


def predict(model: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(prepare(images)).argmax(dim=1).numpy()


def test_small(model: nn.Module, weights: Path) -> None:
    assert sum(parameter.numel() for parameter in model.parameters()) <= 1_500_000
    assert weights.stat().st_size <= 5_000_000


def test_accuracy_on_sample(model: nn.Module, root: Path) -> None:
    with np.load(root / "tests" / "data" / "mnist_sample.npz") as sample:
        images, labels = sample["images"], sample["labels"]
    assert images.shape == (500, 28, 28)
    wrong = int((predict(model, images) != labels).sum())
    # A model that is right for 99.2% of all images makes 4 mistakes in 500 on average; more than 7, one time in 20.
    assert wrong <= 7


def test_accuracy_on_all(model: nn.Module, root: Path) -> None:
    if "MNIST_DATA" not in os.environ:
        pytest.skip("MNIST_DATA does not name a folder with the MNIST files; the sample above stands for them")
    script = root / "model-archiver" / "model-store" / "mnist" / "train.py"
    code = (
        f"import sys, pathlib; sys.path.insert(0, {str(script.parent)!r}); import torch, train, mnist\n"
        "model = mnist.MNISTClassifier(); model.load_state_dict(torch.load(train.HERE / 'mnist_cnn.pt'))\n"
        f"print(train.accuracy(model, train.load_digits(pathlib.Path({os.environ['MNIST_DATA']!r}))[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) >= 0.992


def test_kserve_samples(model: nn.Module, root: Path) -> None:
    requests = root / "tests" / "data" / "requests"
    v1 = json.loads((requests / "v1_mnist.json").read_text())["instances"][0]["data"]
    v2 = json.loads((requests / "mnist_v2_bytes.json").read_text())["inputs"][0]["data"][0]
    tensor = json.loads((requests / "mnist_v2_tensor.json").read_text())["inputs"][0]["data"][0]
    images = [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in (v1, v2)]
    images.append(np.rint(np.asarray(tensor) * 255).astype(np.uint8))
    np.testing.assert_array_equal(images[1], images[2], err_msg="the tensor is the picture of the bytes request")
    assert predict(model, np.stack(images)).tolist() == [2, 0, 0]


def test_layout_and_batch_do_not_matter(model: nn.Module, root: Path) -> None:
    with np.load(root / "tests" / "data" / "mnist_sample.npz") as sample:
        images = prepare(sample["images"][:33])
    with torch.inference_mode():
        expected = model(images)
        last = model(images.contiguous(memory_format=torch.channels_last))
        single = torch.cat([model(image) for image in images.split(1)])
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(single, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*torch.jit.*:FutureWarning")
def test_freeze_folds_batch_norm(model: nn.Module) -> None:
    example = torch.zeros(2, 1, 28, 28)
    frozen = torch.jit.freeze(torch.jit.trace(model, example))
    assert "batch_norm" not in str(frozen.inlined_graph)
    with torch.inference_mode():
        torch.testing.assert_close(frozen(example), model(example), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks:UserWarning")
def test_deep_lift_sums_to_the_difference(model: nn.Module, root: Path) -> None:
    from captum.attr import DeepLift

    with np.load(root / "tests" / "data" / "mnist_sample.npz") as sample:
        images, labels = prepare(sample["images"][:8]), torch.from_numpy(sample["labels"][:8]).long()
    images.requires_grad_()
    _, delta = DeepLift(model).attribute(images, torch.zeros_like(images), labels, return_convergence_delta=True)
    assert delta.abs().max().item() < 1e-3
