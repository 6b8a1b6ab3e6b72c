"""What a stock handler and ours are asked of one model, and what both must answer alike before their speed counts."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Dict, List, Sequence

from benchmarks.images import photograph
from benchmarks.texts import sentences
from benchmarks.worker.loading import Batch, request_of

#: Width and height of the photographs that each model is asked with: a common one, and the detector's own.
PHOTOGRAPHS = {"resnet18": (640, 480), "detector": (320, 320)}
#: The stock object_detector's.
THRESHOLD = 0.5


def asked(model: str, rows: int, raw: bool) -> Batch:
    """A V1 request of so many rows.

    Args:
        raw: for a handler of this project, see :func:`mnist_handler`'s extension ``raw_body``; else for a stock one.
    """
    if model == "minilm":
        texts = sentences(rows)
        return request_of(texts if raw else [{"data": text} for text in texts], raw)
    images = [photograph(index % 8, *PHOTOGRAPHS[model]) for index in range(rows)]
    instances = [{"data": base64.b64encode(image).decode()} for image in images]
    own = {"parameters": {"threshold": THRESHOLD}} if raw and model == "detector" else {}
    return request_of(instances, raw, **own)


def predictions(reply: bytes) -> List[Any]:
    """Those of the V1 answer that is in what a worker gives back to TorchServe."""
    start = re.search(rb'\{\s*"predictions"', reply)
    if start is None:
        raise ValueError(f"no predictions: {reply[:300]!r}")
    found: List[Any] = json.loads(reply[start.start() : reply.rindex(b"}") + 1])["predictions"]
    return found


def gist(prediction: Any) -> List[float]:
    """What two handlers' answers to a row have in common: a vector, the number of the class, or of boxes."""
    if isinstance(prediction, int):
        return [prediction]
    if isinstance(prediction, dict) and "boxes" in prediction:
        return [len(prediction["boxes"])]
    if isinstance(prediction, dict):  # image_classifier: probabilities by class
        return [int(max(prediction, key=lambda name: float(prediction[name])))]
    if all(isinstance(one, dict) for one in prediction):  # object_detector: a box each
        return [len(prediction)]
    return [float(value) for value in prediction]


def unlike(given: Dict[str, Sequence[Sequence[float]]], tolerance: float) -> List[str]:
    """Names of the handlers whose answers are not the first's, row by row."""
    first, *others = given
    return [name for name in others if not _alike(given[first], given[name], tolerance)]


def _alike(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]], tolerance: float) -> bool:
    return len(one) == len(other) and all(
        len(a) == len(b) and all(abs(x - y) <= tolerance for x, y in zip(a, b)) for a, b in zip(one, other)
    )
