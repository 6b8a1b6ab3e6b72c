"""Rows of unequal lengths as one array: filled up at the end, with a mask or the lengths for the model."""

from __future__ import annotations

import bisect
from typing import Any, Dict, List, Sequence

import numpy as np

from mnist_handler.inputs.spec import Chunk, InputSpec


def row_lengths(chunks: Sequence[Chunk]) -> np.ndarray[Any, Any]:
    """Length of each row, its first dimension's: int64 [rows]."""
    lengths: np.ndarray[Any, Any] = np.concatenate(
        [np.full(len(chunk), chunk.array.shape[1], np.int64) for chunk in chunks]
    )
    return lengths


def pad_rows(chunks: Sequence[Chunk], spec: InputSpec, to_buckets: bool = True) -> np.ndarray[Any, Any]:
    """All rows in one array [rows, longest, …], the longest rounded up to the next of ``spec.buckets``, or not.

    Chunks may differ wherever the row's shape has -1; ``spec.pad`` fills what a row lacks.
    """
    shapes = [chunk.array.shape[1:] for chunk in chunks]
    longest = [max(sizes) for sizes in zip(*shapes)]
    if spec.buckets and to_buckets:
        longest[0] = bucket(longest[0], spec.buckets)
    if len(chunks) == 1 and tuple(longest) == shapes[0]:
        return chunks[0].array
    whole = np.full((sum(map(len, chunks)), *longest), spec.pad or 0, chunks[0].array.dtype)
    start = 0
    for chunk in chunks:
        place = (slice(start, start + len(chunk)), *(slice(0, size) for size in chunk.array.shape[1:]))
        whole[place] = chunk.array
        start += len(chunk)
    return whole


def bucket(length: int, buckets: Sequence[int]) -> int:
    """The least of the buckets, in rising order, that holds the length; the length itself beyond the last."""
    place = bisect.bisect_left(buckets, length)
    return buckets[place] if place < len(buckets) else length


def mask_of(lengths: np.ndarray[Any, Any], longest: int) -> np.ndarray[Any, Any]:
    """1 where a row has values, 0 where it was filled up: int64 [rows, longest]."""
    mask: np.ndarray[Any, Any] = (np.arange(longest) < lengths[:, None]).astype(np.int64)
    return mask


def check_lengths(spec: InputSpec, chunks: Sequence[Chunk], first_row: int) -> Dict[int, str]:
    """The rows that are longer than the last bucket, or without any value, each with what is wrong."""
    if spec.pad is None:
        return {}
    most = spec.buckets[-1] if spec.buckets else None
    faults: Dict[int, str] = {}
    for chunk in chunks:
        length = chunk.array.shape[1]
        if length == 0 or (most is not None and length > most):
            text = "it has no values" if length == 0 else f"length {length} is more than {most}"
            faults.update(dict.fromkeys(range(first_row, first_row + len(chunk)), text))
        first_row += len(chunk)
    return faults


def ragged(rows: Sequence[np.ndarray[Any, Any]], encoding: str) -> List[Chunk]:
    """Rows of any shapes as chunks; neighbours of one shape share one."""
    chunks: List[Chunk] = []
    start = 0
    for stop in range(1, len(rows) + 1):
        if stop == len(rows) or rows[stop].shape != rows[start].shape:
            chunks.append(Chunk(encoding, np.stack(rows[start:stop])))
            start = stop
    return chunks
