"""What a client asked and what it gets, freed of any wire form: the types between envelope and handler."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import numpy as np

Parameter = Union[str, float, int, bool]
Parameters = Mapping[str, Parameter]


@dataclass(frozen=True)
class InputValues:
    """Some rows of one input, in order.

    ``values`` is either a list with one item a row (``bytes`` of an encoded image or text, ``str``, a number, or
    nested lists of numbers), or a NumPy array as the client shaped it. Whether the array's first dimension is the
    batch is for the handler to say: it knows the shape of a row.
    """

    values: Union[List[Any], np.ndarray[Any, Any]]
    #: V2: the input's own parameters.
    parameters: Parameters = field(default_factory=dict)
    #: V1: what stands beside the data in each instance (``target`` …); empty, or one mapping a row.
    row_parameters: List[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """One client's request. Inputs keep their order; a name may repeat."""

    inputs: List[Tuple[str, InputValues]]
    explain: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    #: Names of the outputs asked for, or None for all of them.
    outputs: Optional[List[str]] = None
    #: V1: the inputs came together, row by row, so that none of them continues another.
    by_row: bool = False
    #: The HTTP headers that the handler declares to read, by their names in lower case.
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ragged:
    """One output whose rows have lengths of their own: ``values`` is [rows, longest, …], filled up with zeros."""

    values: np.ndarray[Any, Any]
    #: int64 [rows]
    lengths: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.values)

    def by_row(self) -> List[Any]:
        """Each row in its own length, as nested lists."""
        return [row[:length].tolist() for row, length in zip(self.values, self.lengths.tolist())]


#: One output: an array of shape [rows, …], or a list with one JSON-serialisable item (or bytes) a row.
Output = Union["np.ndarray[Any, Any]", List[Any], Ragged]


@dataclass(frozen=True)
class Answer:
    """The outputs of one request by name, in order; dimension 0 of each counts the request's rows."""

    outputs: Dict[str, Output]
    parameters: Mapping[str, Any] = field(default_factory=dict)


class RequestError(Exception):
    """One request cannot be answered; the others of the batch are unharmed.

    Args:
        status: HTTP status, 400 to 599.
        message: what is wrong, where, and what to do; shown to the client.
        rows: the rows at fault, counted from 0 within the request, each with its own message.
    """

    def __init__(self, status: int, message: str, rows: Optional[Mapping[int, str]] = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.rows: Dict[int, str] = dict(rows or {})


def row_error(faults: Mapping[int, str], status: int = 400) -> RequestError:
    """One error for all rows at fault; its message names the first three."""
    shown = [f"row {row}: {text}" for row, text in sorted(faults.items())[:3]]
    more = len(faults) - len(shown)
    return RequestError(status, "; ".join(shown) + (f"; and {more} more rows" if more else ""), faults)
