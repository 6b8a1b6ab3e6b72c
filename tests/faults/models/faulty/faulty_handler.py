"""A handler that does what its rows tell it: answers with the row itself, or fails in the way that the row names.

It is a stock handler: JSON in, JSON out, no row errors, no extensions. A row is text:

    echo:ANYTHING           its answer is the row
    sleep:SECONDS:ANYTHING  the same, later
    raise:ANYTHING          an exception, which ends the whole request
    refuse:ANYTHING         a 400 of the handler's own, which ends the whole request
    short:ANYTHING          this row is left out of the answer
    long:ANYTHING           this row is answered twice
    large:BYTES             an answer of that many bytes
    nonsense:ANYTHING       an answer that is not JSON
    exit:ANYTHING           the worker ends
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Dict, List

from ts.utils.util import PredictionException


class FaultyHandler:
    """TorchServe's entry point."""

    def __init__(self) -> None:
        self.initialized = False

    def initialize(self, context: Any) -> None:
        self.initialized = True

    def handle(self, data: List[Dict[str, Any]], context: Any) -> List[Any]:
        """One answer for each of TorchServe's requests."""
        if context.get_request_header(0, "describe") == "True":
            return [{"name": "faulty"} for _ in data]
        return [self._answer(item, context.get_request_header(idx, "explain")) for idx, item in enumerate(data)]

    def _answer(self, item: Dict[str, Any], explain: Any) -> Any:
        body = item.get("body") or item.get("data")
        document = body if isinstance(body, dict) else json.loads(bytes(body))
        if "instances" in document:
            rows = answer_rows(document["instances"])
            return rows if isinstance(rows, str) else {"explanations" if explain == "True" else "predictions": rows}
        # As the stock envelope does it: an output for each input.
        told = [answer_rows(tensor["data"]) for tensor in document["inputs"]]
        return {"outputs": [{"name": "echo", "datatype": "BYTES", "shape": [len(rows)], "data": rows} for rows in told]}


def answer_rows(rows: List[Any]) -> Any:
    answers: List[Any] = []
    for row in rows:
        kind, _, rest = str(row).partition(":")
        if kind == "nonsense":
            return "this is no JSON"
        answers.extend(answer_row(kind, rest, row))
    return answers


def answer_row(kind: str, rest: str, row: Any) -> List[Any]:
    if kind == "sleep":
        time.sleep(float(rest.split(":")[0]))
    elif kind == "raise":
        raise RuntimeError(f"told to raise: {rest}")
    elif kind == "refuse":
        raise PredictionException(f"told to refuse: {rest}", 400)
    elif kind == "exit":
        os._exit(3)
    if kind == "large":
        return ["x" * int(rest)]
    return [] if kind == "short" else [row, row] if kind == "long" else [row]
