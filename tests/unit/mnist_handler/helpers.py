"""Requests as the envelopes make them, and images as clients send them."""

from __future__ import annotations

import base64
import io
import sys
from typing import Any, List, Union

import numpy as np
import pytest
from PIL import Image

from mnist_handler import Answer, InputValues, Request, RequestError, RowHandler
from mnist_handler.compute.compiled import NO_TORCHSCRIPT

#: What ``compile: auto`` is here, on a CPU.
AUTO = "torchscript" if sys.version_info < NO_TORCHSCRIPT else "none"
needs_torchscript = pytest.mark.skipif(AUTO == "none", reason="torch has no TorchScript on Python 3.14 and later")


def png(pixels: np.ndarray[Any, Any], fmt: str = "PNG", **options: Any) -> bytes:
    """[1, h, w] or [3, h, w] uint8 as an encoded image."""
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    file = io.BytesIO()
    picture.save(file, fmt, **options)
    return file.getvalue()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def v1(*rows: Any, explain: bool = False, beside: Any = None, **parameters: Any) -> Request:
    return Request([("data", InputValues(list(rows), row_parameters=beside or []))], explain, parameters)


def v2(values: Any, explain: bool = False, **parameters: Any) -> Request:
    return Request([("input-0", InputValues(values))], explain, parameters)


def ask(handler: RowHandler, *requests: Request) -> List[Union[Answer, RequestError]]:
    return handler.answer(list(requests), handler.context)


def ask_one(handler: RowHandler, request: Request) -> Answer:
    (answer,) = ask(handler, request)
    assert isinstance(answer, Answer), answer
    return answer


def refusal(handler: RowHandler, request: Request, status: int = 400) -> RequestError:
    (answer,) = ask(handler, request)
    assert isinstance(answer, RequestError), answer
    assert answer.status == status
    return answer


def labels(answer: Union[Answer, RequestError]) -> List[Any]:
    assert isinstance(answer, Answer), answer
    return list(np.asarray(answer.outputs["predict"]).tolist())
