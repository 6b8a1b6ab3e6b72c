"""What a model gives beside scores of classes: declared outputs, out of a tensor, a tuple, a dict or a list by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import nn

from mnist_handler.envelopes.datatypes import DTYPES
from mnist_handler.inputs.parameters import NO_CLASSES, PredictOptions
from mnist_handler.requests import Output, Ragged, RequestError

Tensors = Tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class OutputSpec:
    """One output of a model: ``shape`` is a row's, without the batch dimension; -1 = any length.

    A row's own length of a first dimension of -1 is that of the input that ``like`` names (a score for each token,
    say), or what the model gave where it answers with a list by row. It is told in the output ``NAME_length`` of V2;
    V1 gives each row its own.
    """

    name: str
    datatype: str
    shape: Tuple[int, ...]
    like: Optional[str] = None


class OutputError(TypeError):
    """The model or the handler gave something that is not what it declares."""


class Declared(nn.Module):
    """A model that gives its declared outputs as a tuple of tensors [rows, …], whatever it gives by itself.

    A list by row becomes tensors filled up with zeros, and one more tensor: how many values each row has, int64 [rows].
    """

    def __init__(self, model: nn.Module, specs: Sequence[OutputSpec]) -> None:
        super().__init__()
        self.model = model
        self.names = [spec.name for spec in specs]

    def forward(self, *inputs: torch.Tensor) -> Tensors:
        return flatten(self.model(*inputs), self.names)


def flatten(result: Any, names: Sequence[str]) -> Tensors:
    """The outputs of these names, in their order.

    Args:
        result: a tensor (the only output), a mapping from names, a sequence of tensors in the order of the names, or
            a list with one mapping, or, of the only output, one tensor, a row.

    Raises:
        OutputError: something else, or an output is missing.
    """
    if isinstance(result, torch.Tensor):
        result = (result,)
    if isinstance(result, Mapping):
        return tuple(_pick(result, name) for name in names)
    if not isinstance(result, (list, tuple)):
        raise OutputError(f"the model gave a {type(result).__name__}: not a tensor, tuple, dict or list by row")
    if result and isinstance(result[0], Mapping):
        columns = [[_pick(row, name) for row in result] for name in names]
        return (*(_fill_up(column) for column in columns), _counts(columns[0]))
    if isinstance(result, list) and len(names) == 1 and len(result) != 1:
        return _fill_up(result), _counts(result)
    if len(result) < len(names):
        raise OutputError(f"the model gave {len(result)} outputs, not the {len(names)} declared: {', '.join(names)}")
    return tuple(result[: len(names)])


def _pick(result: Mapping[str, Any], name: str) -> torch.Tensor:
    if name not in result:
        raise OutputError(f"the model gave no output {name!r}, only {', '.join(map(str, result))}")
    value: torch.Tensor = result[name]
    return value


def _counts(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.tensor([len(row) for row in rows], dtype=torch.int64, device=rows[0].device)


def _fill_up(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    longest = [max(sizes) for sizes in zip(*(row.shape for row in rows))]
    whole = rows[0].new_zeros((len(rows), *longest))
    for place, row in zip(whole, rows):
        place[tuple(slice(0, size) for size in row.shape)] = row
    return whole


class Answers:
    """A batch's declared outputs, to be cut into requests.

    Args:
        tensors: of :class:`Declared`, [rows, …] each.
        lengths: of the rows of each padded input, by its name: int64 [rows].
    """

    def __init__(
        self, specs: Sequence[OutputSpec], tensors: Tensors, lengths: Mapping[str, np.ndarray[Any, Any]]
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._arrays = {spec.name: _array(one, spec.datatype) for spec, one in zip(specs, tensors)}
        self._counts = _array(tensors[-1], "INT64") if len(tensors) > len(specs) else None
        self._lengths = lengths

    def outputs(self, rows: slice, options: PredictOptions, names: Optional[List[str]]) -> Dict[str, Output]:
        """Outputs of some rows, those of variable size cut to the longest of these rows; RequestError (400) if none."""
        if options != PredictOptions():
            raise RequestError(400, NO_CLASSES)
        for name in names or ():
            if name not in self._specs:
                raise RequestError(400, f"no output {name!r}; this model has {', '.join(self._specs)}")
        return {name: self._output(self._specs[name], rows) for name in names or self._specs}

    def _output(self, spec: OutputSpec, rows: slice) -> Output:
        lengths = self._lengths.get(spec.like or "", self._counts)
        values = self._arrays[spec.name][rows]
        if lengths is None or spec.shape[:1] != (-1,):
            return values
        own = lengths[rows]
        return Ragged(values[:, : int(own.max(initial=0))], own)


def _array(tensor: torch.Tensor, datatype: str) -> np.ndarray[Any, Any]:
    """On the host, in the declared datatype, which NumPy may not have had for the tensor's (bfloat16)."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    array: np.ndarray[Any, Any] = tensor.cpu().numpy()
    return array.astype(DTYPES[datatype], copy=False)


def to_answer(made: Any, rows: slice, names: Optional[List[str]]) -> Dict[str, Output]:
    """What an overridden ``postprocess`` returned for a whole batch, as a request's outputs.

    Args:
        made: a list with one item a row, an array or a tensor [rows, …]: the output ``predict``; or a mapping of those
            from names of outputs.

    Raises:
        RequestError: 400, no output of that name.
    """
    columns = dict(made) if isinstance(made, Mapping) else {"predict": made}
    for name in names or ():
        if name not in columns:
            raise RequestError(400, f"no output {name!r}; this model has {', '.join(columns)}")
    return {name: _column(columns[name], rows) for name in names or columns}


def _column(values: Any, rows: slice) -> Output:
    if isinstance(values, torch.Tensor):
        values = (values.float() if values.dtype == torch.bfloat16 else values).cpu().numpy()
    part: Output = values[rows]
    return part


def check_column(made: Any, rows: int) -> None:
    """Raise OutputError unless ``made`` is what :func:`to_answer` takes, of so many rows."""
    columns = dict(made) if isinstance(made, Mapping) else {"predict": made}
    for name, values in columns.items():
        if not isinstance(values, (list, tuple, np.ndarray, torch.Tensor)):
            raise OutputError(
                f"postprocess returned a {type(values).__name__} for {name}, not a list with an item a row"
            )
        if len(values) != rows:
            raise OutputError(f"postprocess returned {len(values)} items of {name} for {rows} rows")
