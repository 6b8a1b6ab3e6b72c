"""A handler's stages, timed: preprocess (decoding included), inference, postprocess."""

from __future__ import annotations

import base64
import time
from statistics import median
from typing import Any, Callable, Dict, List, Sequence, Tuple

Stage = Tuple[str, Callable[[Any], Any]]


def stages(handler: Any, images: Sequence[bytes]) -> List[Stage]:
    """The three stages of this project's handler or of a stock one; each takes what the one before gave."""
    texts = [base64.b64encode(image).decode() for image in images]
    if hasattr(handler, "answer"):
        return _ours(handler, texts)
    rows = [{"data": text} for text in texts]
    return [
        ("preprocess", lambda _: handler.preprocess(rows)),
        ("inference", handler.inference),
        ("postprocess", handler.postprocess),
    ]


def _ours(handler: Any, texts: List[str]) -> List[Stage]:
    from mnist_handler.inputs.parameters import PREDICT_KEYS, collect, predict_options
    from mnist_handler.requests import InputValues, Request

    one = Request([("data", InputValues(texts))])

    def preprocess(_: Any) -> Any:
        return handler.preprocess([handler.decode(one.inputs, collect(one, PREDICT_KEYS))])

    def postprocess(outcome: Any) -> Any:
        options = predict_options(collect(one, PREDICT_KEYS), handler.classes)
        outputs = handler.postprocess(outcome.scores).outputs(slice(0, len(texts)), options, None)
        return outputs["predict"].tolist()

    return [("preprocess", preprocess), ("inference", handler.inference), ("postprocess", postprocess)]


def timed(handler: Any, images: Sequence[bytes], seconds: float) -> Dict[str, float]:
    """Median microseconds per image of each stage, over ``seconds`` of calls (at least five)."""
    steps = stages(handler, images)
    times: Dict[str, List[float]] = {name: [] for name, _ in steps}
    for _ in range(3):
        _once(steps, {name: [] for name in times})
    end = time.perf_counter() + seconds
    while len(times["inference"]) < 5 or time.perf_counter() < end:
        _once(steps, times)
    return {name: median(values) * 1e6 / len(images) for name, values in times.items()}


def _once(steps: Sequence[Stage], times: Dict[str, List[float]]) -> None:
    value: Any = None
    for name, step in steps:
        start = time.perf_counter()
        value = step(value)
        times[name].append(time.perf_counter() - start)
