"""One configured handler on one device, and the times of its stages."""

from __future__ import annotations

import base64
import types
from typing import Any, Dict, Sequence

import torch

from benchmarks.gpu.timing import measure
from benchmarks.images import pngs
from benchmarks.servers.peers import MODEL

#: What can be combined; the CPU has neither fp16 nor CUDA graphs.
MODES = {"cuda": ("none", "torchscript", "inductor", "cuda_graph"), "cpu": ("none", "torchscript")}
PRECISIONS = {"cuda": ("fp32", "bf16", "fp16"), "cpu": ("fp32", "bf16")}


def build(device: str, precision: str, mode: str, batches: Sequence[int]) -> Any:
    """The MNIST handler, initialised as TorchServe would, warm for every one of ``batches``.

    Raises:
        RuntimeError: the device or its torch cannot do this combination (no Triton for inductor, say).
    """
    from mnist_handler.mnist import MNISTDigitClassifier

    section = {
        "precision": precision,
        "compile": mode,
        "device_batch_limit": min(4096, max(batches)),
        "warm_up": [batch for batch in batches if batch <= 4096],
        "metrics": False,
        "explain_batch_limit": 4096,
    }
    context = types.SimpleNamespace(
        model_name="mnist",
        manifest={"model": {"modelName": "mnist", "modelFile": "mnist.py", "serializedFile": "mnist_cnn.pt"}},
        model_yaml_config={"handler": section},
        system_properties={"gpu_id": 0 if device == "cuda" else None, "model_dir": str(MODEL)},
        metrics=None,
    )
    handler = MNISTDigitClassifier()
    handler.initialize(context)
    if handler.device.type != device:
        raise RuntimeError(f"the handler runs on {handler.device}, not on {device}")
    return handler


def times(handler: Any, batch: int, seconds: float) -> Dict[str, float]:
    """Microseconds an image of each stage at one batch size.

    ``decode``: base64 and PNG to pixels, on the CPU. ``transfer``: the pixels to the device (part of
    ``preprocess``, which also normalises). ``inference`` and ``postprocess`` (labels back on the host) wait for the
    device; ``inference_device`` is what the GPU itself took.
    """
    from mnist_handler.inputs.parameters import PREDICT_KEYS, collect
    from mnist_handler.inputs.spec import stack
    from mnist_handler.requests import Block, Request

    texts = [base64.b64encode(png).decode() for png in pngs(batch)]
    request = Request([("data", Block(texts))])
    asked = collect(request, PREDICT_KEYS)
    decoded = handler.decode(request.inputs, asked)
    pieces = next(iter(decoded.values()))
    tensors = handler.preprocess([decoded])
    scores = handler.inference(tensors).scores
    device = handler.device
    found = {
        "decode": measure(lambda: handler.decode(request.inputs, asked), torch.device("cpu"), seconds)[0],
        "transfer": measure(lambda: stack(pieces, device), device, seconds)[0],
        "preprocess": measure(lambda: handler.preprocess([decoded]), device, seconds)[0],
    }
    found["inference"], found["inference_device"] = measure(lambda: handler.inference(tensors), device, seconds)
    found["postprocess"] = measure(lambda: handler.postprocess(scores).classes, device, seconds)[0]

    def whole() -> Any:
        outcome = handler.inference(handler.preprocess([decoded]))
        return handler.postprocess(outcome.scores).classes

    found["after_decode"] = measure(whole, device, seconds)[0]
    return {name: value / batch for name, value in found.items()}


def explain_time(handler: Any, batch: int, seconds: float) -> float:
    """Microseconds an image of integrated gradients in 15 steps, answers made from requests as they come."""
    from mnist_handler.requests import Block, Request

    texts = [base64.b64encode(png).decode() for png in pngs(batch)]
    requests = [Request([("data", Block([text]))], explain=True) for text in texts]
    wall, _ = measure(lambda: handler.answer(requests, None), handler.device, seconds, least=3)
    return wall / batch
