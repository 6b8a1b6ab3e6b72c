"""A handler of one function, as TorchServe takes them too: it answers whatever the request asks for."""

from __future__ import annotations

from typing import Any, Callable, Dict

import numpy as np


def status(code: int, body: Any) -> Callable[[Any], Any]:
    def answer(context: Any) -> Any:
        context.set_response_status(code, "As the handler says", 0)
        return body

    return answer


#: By the word in the request.
ANSWERS: Dict[str, Callable[[Any], Any]] = {
    "dict": lambda context: {"a": 1},
    "text": lambda context: "text",
    "bytes": lambda context: b"raw",
    "set": lambda context: {1, 2},
    "array": lambda context: np.arange(3),
    "nothing": lambda context: None,
    "two": lambda context: [1, 2],
    "one": lambda context: [7],
    "long": lambda context: ["x" * 400_000],
    "object": lambda context: [{"detail": [{"loc": 1}]}],
    "422": status(422, [{"detail": [{"loc": 1}]}]),
    "404": status(404, ["no such thing"]),
}


def handle(data: Any, context: Any) -> Any:
    """What TorchServe calls, without data when it loads the model."""
    if not data:
        return None
    row = data[0]
    body = row.get("body", row.get("data")) if isinstance(row, dict) else row
    if isinstance(body, dict):
        body = body["instances"][0] if "instances" in body else body["inputs"][0]["data"][0]
    return ANSWERS[body](context)
