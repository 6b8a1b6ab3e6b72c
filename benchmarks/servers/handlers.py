"""Archives of one model each under this project's handler and under TorchServe's own of the same kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Callable, Dict

from benchmarks.servers import archives
from benchmarks.servers.photographs import prepare

#: How the handlers of a model are called in the report; the first is what the others are compared with.
Archives = Dict[str, Path]


def resnet18(place: Path, random_weights: bool) -> Archives:
    """A network of ResNet-18's shape with random weights; TorchServe's image_classifier as it is."""
    folder = place / "models" / "resnet18"
    folder.mkdir(parents=True)
    prepare(folder)
    shutil.copy(archives.HERE / "photograph_handler.py", folder)
    described = {"version": "1.0", "handler": "photograph_handler.py", "model_file": archives.PHOTOGRAPH_MODEL.name}
    described["serialized_file"] = "photographs.pt"
    (folder / "mar.json").write_text(json.dumps({**described, "packages": ["mnist_handler"]}))
    ours = archives.build(folder, place / "ours")
    return {"stock": archives.photographs(place / "stock", folder, ours=False), "ours": ours}


def detector(place: Path, random_weights: bool) -> Archives:
    """SSDlite with random weights; TorchServe's object_detector as it is."""
    folder = archives.fetched("detector", place, random_weights)
    files = ["--model-file", str(folder / "detector.py"), "--serialized-file", str(folder / "detector.pt")]
    stock = archives.archive(place / "stock", "detector", "object_detector", files)
    return {"stock": stock, "ours": archives.build(folder, place / "ours")}


def minilm(place: Path, random_weights: bool) -> Archives:
    """A sentence encoder; TorchServe has no handler of that kind, its Transformer example shows one."""
    return archives.minilm(place, random_weights)


MODELS: Dict[str, Callable[[Path, bool], Archives]] = {"minilm": minilm, "resnet18": resnet18, "detector": detector}
#: How far two handlers' answers may be apart: a vector's numbers, a class, boxes (a score near the threshold).
TOLERANCES = {"minilm": 1e-3, "resnet18": 0.0, "detector": 1.0}
