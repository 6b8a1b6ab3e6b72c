"""Decoded rows on the host, and how they are stacked into one tensor on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch

#: What a row's numbers mean. PIXELS: uint8 0..255. UNIT: float32 0..1. PREPROCESSED: as the model takes them.
PIXELS = "pixels"
UNIT = "unit"
PREPROCESSED = "preprocessed"


@dataclass(frozen=True)
class InputSpec:
    """One input of a model: ``shape`` is a row's, without the batch dimension; -1 = any length.

    ``low`` and ``high`` are the least and the greatest value that the model takes, both included, as for the indices
    of an embedding: a row with another is refused before the model fails on it, and with it on the whole batch.

    ``pad`` lets rows of unequal lengths share a batch: shorter ones are filled up with it at their end, to the longest
    or to the next of ``buckets``, the last of which no row may exceed. Where a row's answer depends on what fills it
    up, the model wants ``companion``: ``"mask"`` gives it, as its next argument, int64 [rows, longest] with 1 for
    values and 0 for padding, ``"lengths"`` int64 [rows].

    ``becomes`` is what the model takes where that is not what clients send: text is BYTES of shape () and becomes
    token ids, say, by the handler's ``encode``::

        InputSpec("text", "BYTES", (), becomes=InputSpec("ids", "INT64", (-1,), pad=0, companion="mask"))

    ``embedding`` is the dotted name of the model's layer that turns these integers into vectors: with it they are
    explained, each by the attributions of its vector.
    """

    name: str
    datatype: str
    shape: Tuple[int, ...]
    low: Optional[float] = None
    high: Optional[float] = None
    pad: Optional[float] = None
    buckets: Tuple[int, ...] = ()
    companion: Optional[str] = None
    becomes: Optional[InputSpec] = None
    embedding: Optional[str] = None

    @property
    def tensor(self) -> InputSpec:
        """What the model takes."""
        return self.becomes or self


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one encoding: ``array`` is [rows, *row shape], C-contiguous."""

    encoding: str
    array: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.array)


#: One request's rows, by input name; each input holds as many rows as the others.
Rows = Dict[str, List[Chunk]]


def count(chunks: Sequence[Chunk]) -> int:
    return len(chunks[0].array) if len(chunks) == 1 else sum(len(chunk) for chunk in chunks)


def stack(chunks: Sequence[Chunk], device: torch.device) -> torch.Tensor:
    """Put chunks of one encoding, one dtype and one shape together, on the device, in one transfer."""
    arrays = [chunk.array for chunk in chunks]
    if device.type != "cuda":
        array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        # Arrays over received bytes are read-only, which from_numpy warns about.
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
    pinned = torch.empty(shape, dtype=torch.from_numpy(np.empty(0, arrays[0].dtype)).dtype, pin_memory=True)
    np.concatenate(arrays, out=pinned.numpy())
    return pinned.to(device, non_blocking=True)


def by_encoding(chunks: Sequence[Chunk]) -> Dict[str, List[Chunk]]:
    """The chunks of each encoding, in order."""
    groups: Dict[str, List[Chunk]] = {}
    for chunk in chunks:
        groups.setdefault(chunk.encoding, []).append(chunk)
    return groups


def places(chunks: Sequence[Chunk], encoding: str) -> List[int]:
    """Where the rows of an encoding stand among all rows."""
    found: List[int] = []
    start = 0
    for chunk in chunks:
        if chunk.encoding == encoding:
            found.extend(range(start, start + len(chunk)))
        start += len(chunk)
    return found
