"""The real handler with its committed model, as a worker runs it, without TorchServe around it."""

from __future__ import annotations

import json
import warnings
from functools import cache
from typing import Any, NamedTuple, Sequence

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ts.model_loader  # noqa: F401
    from ts.context import Context, RequestProcessor

    from mnist_handler.mnist import MNISTDigitClassifier
from tests.samples import MODEL

JSON = {"body": {"content-type": "application/json"}}
RAW = {"body": {"content-type": "application/octet-stream"}}


class Got(NamedTuple):
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class _Metrics:
    """Takes what the handler reports."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self


@cache
def handler() -> MNISTDigitClassifier:
    made = MNISTDigitClassifier()
    made.initialize(_context([{}]))
    return made


def _context(headers: Sequence[dict[str, Any]]) -> Context:
    manifest = {
        "model": {
            "modelName": "mnist",
            "modelVersion": "1.0",
            "modelFile": "mnist.py",
            "serializedFile": "mnist_cnn.pt",
        }
    }
    context = Context("mnist", str(MODEL), manifest, len(headers), None, "0")
    context.model_yaml_config = {"handler": {"batch_buckets": [1], "compile": "none", "metrics": False}}
    context.metrics = _Metrics()
    context.request_ids = dict(enumerate(f"r{n}" for n in range(len(headers))))
    context.request_processor = [RequestProcessor({"explain": "False", **one}) for one in headers]
    return context


def ask(*sent: tuple[bytes, dict[str, Any]]) -> list[Got]:
    """One worker's batch of bodies, each with its headers; what each client gets."""
    context = _context([headers for _, headers in sent])
    bodies = handler().handle([{"body": bytearray(body)} for body, _ in sent], context)
    assert len(bodies) == len(sent)
    return [Got(context.get_response_status(idx)[0] or 200, bytes(body)) for idx, body in enumerate(bodies)]
