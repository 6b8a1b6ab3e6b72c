"""Outputs whose rows have lengths of their own: cut to the longest of one call's rows, as it would get them alone."""

from __future__ import annotations

from dataclasses import replace
from typing import List, Sequence

import numpy as np

from kserve_wrapper.core.calls import Tensor
from kserve_wrapper.tensors.datatypes import bytes_elements, join_bytes

#: An output of this ending tells the lengths of another's rows: INT64 [rows].
LENGTH = "_length"


def trim(outputs: Sequence[Tensor]) -> List[Tensor]:
    """One call's outputs [rows, longest, …], each with an output ``NAME_length`` cut to the longest of its rows.

    A handler fills rows up to the longest of all calls that it answers together; what lies beyond a call's own longest
    came of its neighbours.
    """
    lengths = {tensor.name: tensor for tensor in outputs if tensor.name.endswith(LENGTH) and tensor.datatype == "INT64"}
    cut: List[Tensor] = []
    for tensor in outputs:
        told = lengths.get(f"{tensor.name}{LENGTH}")
        fits = told is not None and len(tensor.shape) > 1 and told.shape == tensor.shape[:1]
        cut.append(_cut(tensor, _longest(told)) if told is not None and fits else tensor)
    return cut


def _longest(told: Tensor) -> int:
    values = np.frombuffer(told.data, "<i8")
    return int(values.max(initial=0)) if values.min(initial=0) >= 0 else -1


def _cut(tensor: Tensor, longest: int) -> Tensor:
    rows, before = tensor.shape[:2]
    if not 0 <= longest < before:
        return tensor
    shape = (rows, longest, *tensor.shape[2:])
    if tensor.datatype == "BYTES":
        found = bytes_elements(memoryview(tensor.data))
        elements = np.empty(len(found), np.object_)
        elements[:] = found
        kept = elements.reshape(rows, before, -1)[:, :longest].ravel().tolist()
        return replace(tensor, shape=shape, data=join_bytes(kept))
    values = np.frombuffer(tensor.data, np.uint8).reshape(rows, before, -1)
    return replace(tensor, shape=shape, data=np.ascontiguousarray(values[:, :longest]).tobytes())
