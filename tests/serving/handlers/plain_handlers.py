"""Handlers that know nothing of the server in front of them, one for each model name, behind the stock V1 envelope."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, List

Rows = List[List[float]]


def first_row_twice(rows: Rows, context: Any) -> Any:
    """Answers the first row alone, with a list."""
    return [rows[0][0], -rows[0][0]]


def how_many(rows: Rows, context: Any) -> Any:
    return [len(rows) for _ in rows]


def one_object(rows: Rows, context: Any) -> Any:
    return {"sum": sum(map(sum, rows))}


def tenant(rows: Rows, context: Any) -> Any:
    return [[context.get_request_header(0, "x-tenant"), context.get_request_header(0, "cookie")] for _ in rows]


def own_error(rows: Rows, context: Any) -> Any:
    """A status of its own for one row, as handlers report what they do not find."""
    for row in rows:
        if row[0] < 0:
            context.set_response_status(int(-row[0]), "As the handler says", 0)
            return {"error": f"nothing for {row[0]:g}"}
    return [sum(row) for row in rows]


def stacks(rows: Rows, context: Any) -> Any:
    if len({len(row) for row in rows}) > 1:
        raise ValueError("rows of unequal length")
    return [sum(row) for row in rows]


def dies(rows: Rows, context: Any) -> Any:
    if any(row[0] < 0 for row in rows):
        os._exit(1)
    return [sum(row) for row in rows]


MODELS: Dict[str, Callable[[Rows, Any], Any]] = {
    "twice": first_row_twice,
    "count": how_many,
    "object": one_object,
    "tenant": tenant,
    "own-error": own_error,
    "stacks": stacks,
    "dies": dies,
}


class Handler:
    """What torch-model-archiver packs: TorchServe makes one of it."""

    def initialize(self, context: Any) -> None:
        self.context = context
        self.answer = MODELS[context.manifest["model"]["modelName"]]

    def handle(self, data: List[Any], context: Any) -> Any:
        time.sleep(0.01)
        return self.answer([row if isinstance(row, list) else [row] for row in data], context)
