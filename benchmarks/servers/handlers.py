"""Archives of one model each under this project's handler and under TorchServe's own of the same kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Callable, Dict

import torch

from benchmarks.servers import archives
from benchmarks.servers.models import IMAGENET, Model, mean_scores

#: How the handlers of a model are called in the report; the first is what the others are compared with.
Archives = Dict[str, Path]


def resnet18(place: Path, random_weights: bool) -> Archives:
    """A network of ResNet-18's shape with random weights; TorchServe's image_classifier as it is."""
    folder = place / "models" / "resnet18"
    folder.mkdir(parents=True)
    _random_resnet18(folder / "resnet18.pt")
    shutil.copy(archives.HERE / "photograph_handler.py", folder)
    shutil.copy(archives.HERE / "photograph_model.py", folder / "resnet18.py")
    described = {"version": "1.0", "handler": "photograph_handler.py", "model_file": "resnet18.py"}
    described["serialized_file"] = "resnet18.pt"
    (folder / "mar.json").write_text(json.dumps({**described, "packages": ["mnist_handler"]}))
    stock = archives.stock_model(place / "stock", folder, "image_classifier", [])
    return {"stock": stock, "ours": archives.packed(folder.parent, "resnet18", place / "ours")}


def _random_resnet18(weights: Path) -> None:
    """Of its scores the photographs' mean is taken away, so that they are of several classes."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18(weights=None).eval()
    mean = mean_scores(Model("resnet18", (), "image_classifier", 8, IMAGENET), network)
    with torch.no_grad():
        network.fc.bias -= mean
    torch.save(network.state_dict(), weights)


def detector(place: Path, random_weights: bool) -> Archives:
    """SSDlite with random weights; TorchServe's object_detector as it is."""
    folder = archives.fetched("detector", place / "models", random_weights)
    stock = archives.stock_model(place / "stock", folder, "object_detector", [])
    return {"stock": stock, "ours": archives.packed(folder.parent, "detector", place / "ours")}


def minilm(place: Path, random_weights: bool) -> Archives:
    """A sentence encoder, compiled ahead and not; TorchServe's Transformer example shows a handler of that kind."""
    folder = archives.fetched("minilm", place / "models", random_weights)
    extras = [folder / name for name in ("vocab.txt", "wordpiece.py")]
    return {
        "stock": archives.stock_model(place / "stock", folder, archives.HERE / "minilm_stock.py", extras),
        "ours": archives.packed(folder.parent, "minilm", place / "ours"),
        "ours, not ahead": archives.packed(folder.parent, "minilm", place / "eager", "--no-compile"),
    }


MODELS: Dict[str, Callable[[Path, bool], Archives]] = {"minilm": minilm, "resnet18": resnet18, "detector": detector}
#: How far two handlers' answers may be apart: a vector's numbers, a class, boxes (a score near the threshold).
TOLERANCES = {"minilm": 1e-3, "resnet18": 0.0, "detector": 1.0}
