"""Requests made up from a model's own metadata: one row of what it says that it takes."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

#: What a row of text holds.
TEXT = "a text to try the model with"


def v2_request(metadata: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """A V2 request with one row of ones (texts: ``TEXT``); None where the metadata names no inputs.

    Args:
        metadata: V2 model metadata; -1 in a shape is taken for 1.
    """
    inputs = metadata.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        return None
    return {"inputs": [_tensor(one) for one in inputs]}


def v1_request(metadata: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """The same row as a V1 request: a model of one input takes a bare value, one of several an object by name."""
    made = v2_request(metadata)
    if made is None:
        return None
    rows = {one["name"]: _nested(one["data"], one["shape"][1:]) for one in made["inputs"]}
    return {"instances": [next(iter(rows.values())) if len(rows) == 1 else rows]}


def as_v2(request: Mapping[str, Any], metadata: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """A V1 request's rows as V2; None where they do not tell how.

    Rows of a model with one input are its values, or ``{"data": …}``; texts become BYTES. Rows of one with several are
    objects by the inputs' names.
    """
    rows, inputs = request.get("instances"), metadata.get("inputs") or []
    if not isinstance(rows, list) or not rows or not inputs:
        return None
    columns: Dict[str, List[Any]] = {}
    for described in inputs:
        keys = (described["name"], "data") if len(inputs) == 1 else (described["name"],)
        columns[described["name"]] = [
            next((row[key] for key in keys if key in row), None) if isinstance(row, dict) else row for row in rows
        ]
    tensors = [_column(described, columns[described["name"]]) for described in inputs]
    return None if None in tensors else {"inputs": tensors}


def _column(described: Mapping[str, Any], values: List[Any]) -> Optional[Dict[str, Any]]:
    """One input's rows as a tensor of V2; None where they are of unequal shapes, or none."""
    texts = all(isinstance(value, str) for value in values)
    shape, flat = [len(values)], values
    while flat and all(isinstance(value, list) for value in flat):
        if len({len(value) for value in flat}) != 1:
            return None
        shape.append(len(flat[0]))
        flat = [inner for value in flat for inner in value]
    if any(value is None or isinstance(value, (list, dict)) for value in flat):
        return None
    datatype = "BYTES" if texts else described.get("datatype", "FP32")
    return {"name": described["name"], "shape": shape, "datatype": datatype, "data": flat}


def _tensor(described: Mapping[str, Any]) -> Dict[str, Any]:
    shape = [size if isinstance(size, int) and size > 0 else 1 for size in described.get("shape", [])] or [1]
    datatype = str(described.get("datatype", "FP32"))
    count = 1
    for size in shape:
        count *= size
    values: Dict[str, Any] = {"BYTES": TEXT, "BOOL": True}
    value = values.get(datatype, 1.0 if datatype.startswith(("FP", "BF")) else 1)
    return {"name": described.get("name", "input-0"), "shape": shape, "datatype": datatype, "data": [value] * count}


def _nested(flat: List[Any], shape: List[int]) -> Any:
    """Flat values as lists of lists of ``shape``; a bare value where that is empty."""
    if not shape:
        return flat[0]
    step = len(flat) // shape[0]
    return [_nested(flat[start : start + step], shape[1:]) for start in range(0, len(flat), step)]
