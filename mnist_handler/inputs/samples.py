"""Rows that no client sent: what a model is tried with while it loads."""

from __future__ import annotations

import math
from typing import Sequence

import numpy as np

from mnist_handler.inputs import arrays
from mnist_handler.inputs.spec import PREPROCESSED, Chunk, InputSpec, Rows


def zeros(specs: Sequence[InputSpec], rows: int, length: int) -> Rows:
    """So many rows of zeros, or of what is nearest within an input's bounds; -1 in a shape counts as ``length``."""
    made: Rows = {}
    for spec in specs:
        tensor = spec.tensor
        most = min(length, tensor.buckets[-1]) if tensor.buckets else length
        shape = (rows, *(most if size < 0 else size for size in tensor.shape))
        value = min(max(0, tensor.low or 0), math.inf if tensor.high is None else tensor.high)
        made[spec.name] = [Chunk(PREPROCESSED, np.full(shape, value, arrays.numpy_dtype(tensor.datatype)))]
    return made


def ones(specs: Sequence[InputSpec], lengths: Sequence[int]) -> Rows:
    """A row of ones of each length, as far as the inputs take them."""
    made: Rows = {}
    for spec in specs:
        tensor = spec.tensor
        most = tensor.buckets[-1] if tensor.buckets else max(lengths)
        value = min(max(1, -math.inf if tensor.low is None else tensor.low), tensor.high or math.inf)
        sizes = [min(length, most) if tensor.pad is not None else 1 for length in lengths]
        shapes = [(1, *(size if one < 0 else one for one in tensor.shape)) for size in sizes]
        dtype = arrays.numpy_dtype(tensor.datatype)
        made[spec.name] = [Chunk(PREPROCESSED, np.full(shape, value, dtype)) for shape in shapes]
    return made
