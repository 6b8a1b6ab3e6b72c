"""V2 answers as the stock runtime gives them, for clients that depend on its names (``--compat``).

One output for each input of the request, named after it and flat; INT64, FP64 or BYTES; no parameters, always an id,
and the version that answered, as TorchServe's own tests of KServe expect. docs/migration.md has the table.
"""

from __future__ import annotations

import uuid
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from kserve_wrapper.core.calls import Tensor, V2Call, V2Reply
from kserve_wrapper.tensors.datatypes import DTYPES, bytes_elements, decode_elements, join_bytes, values_of


def stock_reply(call: V2Call, reply: V2Reply) -> V2Reply:
    """The reply with the stock runtime's outputs.

    A model's first output is shared out among the inputs by their rows; what cannot be shared out so, as with a model
    of several inputs, goes whole to the first one.
    """
    if not reply.outputs:
        return V2Reply([], reply.model_version)
    values, datatype = _widened(reply.outputs[0])
    shape = reply.outputs[0].shape
    rows = shape[0] if shape else 1
    counts = _rows_by_input(call.inputs, rows)
    width = len(values) // rows if rows else 0
    outputs: List[Tensor] = []
    start = 0
    for tensor, count in zip(call.inputs, counts):
        part = values[start * width : (start + count) * width]
        start += count
        outputs.append(Tensor(tensor.name, datatype, (len(part),), _packed(part, datatype)))
    return V2Reply(outputs, reply.model_version)


def stock_document(call: V2Call, identifier: Optional[str], reply: V2Reply) -> Dict[str, Any]:
    """The JSON answer, keys in the stock runtime's order."""
    outputs = [
        {
            "name": tensor.name,
            "shape": list(tensor.shape),
            "datatype": tensor.datatype,
            "parameters": None,
            "data": decode_elements(tensor.datatype, tensor.data),
        }
        for tensor in stock_reply(call, reply).outputs
    ]
    return {
        "model_name": call.model,
        "model_version": reply.model_version or call.version,
        "id": identifier or new_id(),
        "parameters": None,
        "outputs": outputs,
    }


def new_id() -> str:
    """An id for a request that came without one."""
    return str(uuid.uuid4())


def _rows_by_input(inputs: List[Tensor], rows: int) -> List[int]:
    own = [tensor.shape[0] if tensor.shape else 1 for tensor in inputs]
    for counts in (own, [1] * len(inputs)):
        if sum(counts) == rows:
            return counts
    return [rows] + [0] * (len(inputs) - 1)


def _widened(tensor: Tensor) -> Tuple[List[Any], str]:
    if tensor.datatype == "BYTES":
        return bytes_elements(tensor.data), "BYTES"
    array = values_of(tensor.datatype, tensor.data)
    datatype = "FP64" if array.dtype.kind == "f" else "INT64"
    return array.astype(DTYPES[datatype]).tolist(), datatype


def _packed(values: List[Any], datatype: str) -> bytes:
    return join_bytes(values) if datatype == "BYTES" else np.array(values, DTYPES[datatype]).tobytes()
