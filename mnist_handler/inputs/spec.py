"""Decoded rows on the host, and how they are stacked into one tensor on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch

#: What a row's numbers mean. PIXELS: uint8 0..255. UNIT: float32 0..1. READY: as the model takes them.
PIXELS = "pixels"
UNIT = "unit"
READY = "ready"


@dataclass(frozen=True)
class InputSpec:
    """One input of a model: ``shape`` is a row's, without the batch dimension; -1 = any length.

    ``low`` and ``high`` are the least and the greatest value that the model takes, both included, as for the indices
    of an embedding: a row with another is refused before the model fails on it, and with it on the whole batch.
    """

    name: str
    datatype: str
    shape: Tuple[int, ...]
    low: Optional[float] = None
    high: Optional[float] = None


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of one form: ``array`` is [rows, *row shape], C-contiguous."""

    form: str
    array: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.array)


#: One request's rows, by input name; each input holds as many rows as the others.
Rows = Dict[str, List[Piece]]


def count(pieces: Sequence[Piece]) -> int:
    return len(pieces[0].array) if len(pieces) == 1 else sum(len(piece) for piece in pieces)


def stack(pieces: Sequence[Piece], device: torch.device) -> torch.Tensor:
    """Put pieces of one form, one dtype and one shape together, on the device, in one transfer."""
    arrays = [piece.array for piece in pieces]
    if device.type != "cuda":
        array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        # Arrays over received bytes are read-only, which from_numpy warns about.
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
    pinned = torch.empty(shape, dtype=torch.from_numpy(np.empty(0, arrays[0].dtype)).dtype, pin_memory=True)
    np.concatenate(arrays, out=pinned.numpy())
    return pinned.to(device, non_blocking=True)


def by_form(pieces: Sequence[Piece]) -> Dict[str, List[Piece]]:
    """The pieces of each form, in order."""
    groups: Dict[str, List[Piece]] = {}
    for piece in pieces:
        groups.setdefault(piece.form, []).append(piece)
    return groups


def places(pieces: Sequence[Piece], form: str) -> List[int]:
    """Where the rows of a form stand among all rows."""
    found: List[int] = []
    start = 0
    for piece in pieces:
        if piece.form == form:
            found.extend(range(start, start + len(piece)))
        start += len(piece)
    return found
