"""The network as every peer serves it: the same weights, images decoded and stacked, one forward a batch.

Runs inside the peers' environments: it imports nothing of this project, unless ``NETWORK`` is ``ours``. The others are
``frozen`` (fused TorchScript, as this project's own handler runs it) and ``eager``. ``MODEL_DIRECTORY`` holds mnist.py
and mnist_cnn.pt.
"""

from __future__ import annotations

import base64
import importlib.util
import inspect
import io
import os
import sys
from pathlib import Path
from typing import Any, List, Sequence

import numpy as np
import torch
from PIL import Image

MEAN, DEVIATION = 0.1307, 0.3081
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Network:
    """Decoding by Pillow, an image at a time; the model in evaluation mode, warm for batches of 1 to 64."""

    def __init__(self, frozen: bool) -> None:
        # As this project's handler does: with as many threads as processors, an operator waits for those others use.
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
        model = load_model(Path(os.environ["MODEL_DIRECTORY"]))
        self._model = torch.jit.freeze(torch.jit.script(model)) if frozen else model
        with torch.inference_mode():
            for rows in (1, 2, 3, 4, 8, 16, 32, 64):
                for _ in range(3):
                    self._model(torch.zeros(rows, 1, 28, 28))

    def decode(self, image: bytes) -> Any:
        """What ``predict`` takes of one encoded image: uint8 [28, 28]."""
        with Image.open(io.BytesIO(image)) as opened:
            return np.asarray(opened.convert("L"), dtype=np.uint8)

    def decode_base64(self, text: str) -> Any:
        return self.decode(base64.b64decode(text))

    def predict(self, images: Sequence[Any]) -> List[int]:
        """The digits of what ``decode`` gave."""
        return self.predict_floats(np.stack(images)[:, None].astype(np.float32) / 255)

    def predict_floats(self, rows: np.ndarray) -> List[int]:
        """The digits of float rows [n, 1, 28, 28] in 0..1."""
        with torch.inference_mode():
            batch = torch.from_numpy(np.array(rows, dtype=np.float32)).sub_(MEAN).div_(DEVIATION)
            labels: List[int] = self._model(batch).argmax(1).tolist()
        return labels


class OurNetwork(Network):
    """Decode and forward of this project's handler, a batch at a time: what differs then is the server alone."""

    def __init__(self) -> None:
        import types

        import ts.model_loader  # noqa: F401  (before the package, as in TorchServe's worker)

        from mnist_handler import InputValues, MNISTDigitClassifier, Request
        from mnist_handler.inputs.parameters import PREDICT_KEYS, collect

        self._block, self._request, self._keys, self._collect = InputValues, Request, PREDICT_KEYS, collect
        manifest = {"model": {"modelName": "mnist", "modelFile": "mnist.py", "serializedFile": "mnist_cnn.pt"}}
        properties = {"gpu_id": None, "model_dir": os.environ["MODEL_DIRECTORY"]}
        config = {"handler": {"metrics": False}}
        self._handler = MNISTDigitClassifier()
        self._handler.initialize(
            types.SimpleNamespace(
                model_name="mnist",
                manifest=manifest,
                model_yaml_config=config,
                system_properties=properties,
                metrics=None,
            )
        )

    def decode(self, image: bytes) -> Any:
        return image

    def decode_base64(self, text: str) -> Any:
        return text

    def predict(self, images: Sequence[Any]) -> List[int]:
        return self._answer(list(images))

    def predict_floats(self, rows: np.ndarray) -> List[int]:
        return self._answer(np.asarray(rows, dtype=np.float32))

    def _answer(self, values: Any) -> List[int]:
        request = self._request([("input-0", self._block(values))])
        rows = self._handler.decode(request.inputs, self._collect(request, self._keys))
        outcome = self._handler.inference(self._handler.preprocess([rows]))
        labels: List[int] = self._handler.postprocess(outcome.scores).classes.tolist()
        return labels


class Photographs(Network):
    """A classifier of JPEG files, decoded and resized as torchvision's documentation does; a thread a processor."""

    def __init__(self, name: str, frozen: bool) -> None:
        from torchvision import transforms

        model = load_model(Path(os.environ["MODEL_DIRECTORY"]), name, f"{name}.pt")
        self._model = torch.jit.freeze(torch.jit.trace(model, torch.zeros(1, 3, 224, 224))) if frozen else model
        lite = name == "efficientnet_lite0"
        mean, deviation = ((127 / 255,) * 3, (128 / 255,) * 3) if lite else (IMAGENET_MEAN, IMAGENET_DEVIATION)
        steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
        self._prepare = transforms.Compose([*steps, transforms.Normalize(mean, deviation)])
        with torch.inference_mode():
            for rows in (size for size in (1, 2, 4, 8, 16, 32, 64) if size <= int(os.environ["BATCH"])):
                for _ in range(3):
                    self._model(torch.zeros(rows, 3, 224, 224))

    def decode(self, image: bytes) -> Any:
        with Image.open(io.BytesIO(image)) as opened:
            return self._prepare(opened.convert("RGB"))

    def predict(self, images: Sequence[Any]) -> List[int]:
        with torch.inference_mode():
            classes: List[int] = self._model(torch.stack(list(images))).argmax(1).tolist()
        return classes


class Sentences(Network):
    """MiniLM from text: the same tokenizer, padded to the longest of a batch; a thread a processor."""

    def __init__(self, name: str) -> None:
        directory = Path(os.environ["MODEL_DIRECTORY"])
        sys.path.insert(0, str(directory))
        from wordpiece import WordPiece

        self._tokenizer = WordPiece((directory / "vocab.txt").read_text(encoding="utf-8").splitlines())
        self._model = load_model(directory, name, f"{name}.pt")

    def decode_base64(self, text: str) -> Any:
        """Token ids. Servers call it for what lies in ``data``: here that is the text itself."""
        return self._tokenizer(text)

    def predict(self, images: Sequence[Any]) -> List[Any]:
        longest = max(map(len, images))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in images])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in images])
        with torch.inference_mode():
            vectors: List[Any] = self._model(ids, mask).tolist()
        return vectors


def load() -> Network:
    """What the environment variables ``MODEL`` and ``NETWORK`` name."""
    kind, name = os.environ.get("NETWORK", "frozen"), os.environ.get("MODEL", "mnist")
    if name == "minilm":
        return Sentences(name)
    if name != "mnist":
        return Photographs(name, frozen=kind == "frozen")
    return OurNetwork() if kind == "ours" else Network(frozen=kind == "frozen")


def load_model(directory: Path, name: str = "mnist", weights: str = "mnist_cnn.pt") -> torch.nn.Module:
    """The one network that the file ``name`` defines, with its weights, in evaluation mode."""
    spec = importlib.util.spec_from_file_location(name, directory / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    classes = [item for _, item in inspect.getmembers(module, inspect.isclass) if item.__module__ == name]
    model: torch.nn.Module = classes[0]()
    model.load_state_dict(torch.load(directory / weights, weights_only=True))
    return model.eval()
