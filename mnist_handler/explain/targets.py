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


class Classes:
    """A model's classes by number, and by name where they have names.

    Where a name is itself a number, the name counts.
    """

    def __init__(self, count: int, labels: Optional[Sequence[str]] = None) -> None:
        self.count = count
        self._labels = list(labels or ())
        self._by_name = {name: number for number, name in reversed(list(enumerate(self._labels)))}

    def named(self, value: Any) -> bool:
        return isinstance(value, str) and value in self._by_name

    def read(self, value: Any) -> Tuple[Optional[int], str]:
        """The class that a target means (None: left out), and what is wrong with it, if anything."""
        if isinstance(value, (bytes, bytearray)):
            value = bytes(value).decode(errors="replace")
        if value is None:
            return None, ""
        if self.named(value):
            return self._by_name[value], ""
        if isinstance(value, str):
            name = value.strip()
            if self.named(name):
                return self._by_name[name], ""
            if name.isdecimal() and len(name) < 20:
                value = int(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < self.count:
            shown = repr(value) if isinstance(value, str) else str(value)
            return None, f"target {shown[:40]} is not a class from 0 to {self.count - 1}{self._names()}"
        return value, ""

    def _names(self) -> str:
        if not self._labels:
            return ""
        more = f" and {len(self._labels) - 10} more" if len(self._labels) > 10 else ""
        return f", nor one of {', '.join(self._labels[:10])}{more}"


def read_targets(
    asked: RequestParameters, values: Optional[Sequence[Any]], rows: int, classes: Classes
) -> List[Optional[int]]:
    """One class a row, None where the predicted one is meant.

    A row's own ``target`` (V1) goes before the input ``target`` (V2), that before the parameter ``target``: a class
    for all rows, by number or name, or text with one class a row, separated by commas.

    Raises:
        RequestError: 400; not one a row, or no such class, naming the rows.
    """
    if values is None:
        common = asked.common.get(TARGET)
        if isinstance(common, str) and "," in common and not classes.named(common):
            values = common.split(",")
        else:
            values = [common] * rows
    if len(values) != rows:
        raise RequestError(400, f"{len(values)} targets for {rows} rows")
    targets: List[Optional[int]] = []
    faults: Dict[int, str] = {}
    for row, value in enumerate(values):
        own = asked.by_row[row].get(TARGET) if row < len(asked.by_row) else None
        target, fault = classes.read(value if own is None else own)
        targets.append(target)
        if fault:
            faults[row] = fault
    if faults:
        raise row_error(faults)
    return targets
