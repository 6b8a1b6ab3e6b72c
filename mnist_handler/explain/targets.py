"""Which class each row of an explain request asks about."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from mnist_handler.inputs.parameters import RequestParameters
from mnist_handler.requests import InputValues, Request, RequestError, row_error

#: A V2 input of this name (INT64, one element a row) holds targets, not rows.
TARGET = "target"


def split_targets(request: Request) -> Tuple[List[Tuple[str, InputValues]], Optional[List[Any]]]:
    """The inputs that hold rows, and the elements of the input ``target`` if there is one."""
    inputs = [one for one in request.inputs if one[0] != TARGET]
    if len(inputs) == len(request.inputs) or not inputs:
        return request.inputs, None
    values: List[Any] = []
    for name, block in request.inputs:
        if name == TARGET:
            values.extend(np.ravel(block.values).tolist())
    return inputs, values


def read_targets(
    asked: RequestParameters, values: Optional[Sequence[Any]], rows: int, classes: int
) -> List[Optional[int]]:
    """One class a row, None where the predicted one is meant.

    A row's own ``target`` (V1) goes before the input ``target`` (V2), that before the parameter ``target``: a class
    for all rows, or text with one class a row, separated by commas.

    Raises:
        RequestError: 400; not one a row, or no such class, naming the rows.
    """
    if values is None:
        common = asked.common.get(TARGET)
        values = common.split(",") if isinstance(common, str) else [common] * rows
    if len(values) != rows:
        raise RequestError(400, f"{len(values)} targets for {rows} rows")
    targets: List[Optional[int]] = []
    faults: Dict[int, str] = {}
    for row, value in enumerate(values):
        own = asked.by_row[row].get(TARGET) if row < len(asked.by_row) else None
        target, fault = _read(value if own is None else own, classes)
        targets.append(target)
        if fault:
            faults[row] = fault
    if faults:
        raise row_error(faults)
    return targets


def _read(value: Any, classes: int) -> Tuple[Optional[int], str]:
    if value is None:
        return None, ""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < classes:
        shown = repr(value) if isinstance(value, str) else str(value)
        return None, f"target {shown[:40]} is not a class from 0 to {classes - 1}"
    return value, ""
