"""Values of an input that becomes another, text that becomes token ids, say: checked, encoded, each fault its row's."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Sequence

import numpy as np

from mnist_handler.inputs import arrays
from mnist_handler.inputs.collate import ragged
from mnist_handler.inputs.spec import PREPROCESSED, Chunk, InputSpec
from mnist_handler.requests import InputValues, RequestError

#: A handler's ``encode``, its parameters given.
Encode = Callable[[List[Any]], Sequence["np.ndarray[Any, Any]"]]


def encoded(spec: InputSpec, block: InputValues, first_row: int, faults: Dict[int, str], encode: Encode) -> List[Chunk]:
    """A block's rows as what ``spec`` becomes; zeros stand where a row is at fault.

    Args:
        first_row: the number of the block's first row within the request.
        faults: gets what is wrong with single rows.

    Raises:
        RequestError: ``encode`` refuses the block as a whole.
        ValueError: ``encode`` made more or fewer arrays than it got values.
    """
    tensor = spec.tensor
    empty = np.zeros([max(size, 1) for size in tensor.shape], arrays.numpy_dtype(tensor.datatype))
    values = _values(spec, block)
    rows = [empty] * len(values)
    good: Dict[int, Any] = {}
    for row, value in enumerate(values):
        try:
            good[row] = arrays.text_of(value) if spec.datatype == "BYTES" else value
        except arrays.TensorError as error:
            faults[first_row + row] = str(error)
    try:
        made = encode(list(good.values())) if good else ()
    except RequestError as error:
        if not error.rows:
            raise
        places = list(good)
        faults.update({first_row + places[row]: text for row, text in error.rows.items() if row < len(places)})
        return ragged(rows, PREPROCESSED)
    if len(made) != len(good):
        raise ValueError(f"encode made {len(made)} arrays of {len(good)} values")
    for row, array in zip(good, made):
        rows[row] = np.ascontiguousarray(array, empty.dtype)
    return ragged(rows, PREPROCESSED)


def _values(spec: InputSpec, block: InputValues) -> List[Any]:
    if not isinstance(block.values, np.ndarray):
        return list(block.values)
    return list(arrays.split_rows(block.values, spec.shape)) if spec.shape else list(block.values.ravel().tolist())
