"""Outputs of variable size are cut to a call's own longest row, and others are left alone."""

from __future__ import annotations

from typing import List

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.batching.lengths import trim
from kserve_wrapper.core.calls import Tensor
from kserve_wrapper.tensors.datatypes import bytes_elements, join_bytes


def lengths_of(name: str, lengths: List[int]) -> Tensor:
    return Tensor(f"{name}_length", "INT64", (len(lengths),), np.array(lengths, np.int64).tobytes())


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 3), st.sampled_from([(), (4,), (2, 3)]))
def test_numbers_are_cut_to_the_longest_of_their_rows(lengths: List[int], more: int, tail: tuple[int, ...]) -> None:
    longest = max(lengths)
    whole = np.arange(len(lengths) * (longest + more) * int(np.prod(tail)), dtype=np.float32)
    whole = whole.reshape(len(lengths), longest + more, *tail)
    given_out = [Tensor("boxes", "FP32", whole.shape, whole.tobytes()), lengths_of("boxes", lengths)]
    boxes, told = trim(given_out)
    assert told == given_out[1]
    assert boxes.shape == (len(lengths), longest, *tail)
    np.testing.assert_array_equal(np.frombuffer(boxes.data, np.float32).reshape(boxes.shape), whole[:, :longest])


@given(st.lists(st.lists(st.binary(max_size=3), max_size=4), min_size=1, max_size=4), st.integers(0, 3))
def test_words_are_cut_to_the_longest_of_their_rows(rows: List[List[bytes]], more: int) -> None:
    longest = max(map(len, rows))
    filled = [element for row in rows for element in row + [b""] * (longest + more - len(row))]
    tensor = Tensor("tokens", "BYTES", (len(rows), longest + more), join_bytes(filled))
    tokens, _ = trim([tensor, lengths_of("tokens", [len(row) for row in rows])])
    assert tokens.shape == (len(rows), longest)
    kept = bytes_elements(memoryview(tokens.data))
    assert kept == [element for row in rows for element in row + [b""] * (longest - len(row))]


@pytest.mark.parametrize(
    "beside",
    [
        Tensor("other_length", "INT64", (2,), np.array([1, 1]).tobytes()),
        Tensor("scores_length", "INT32", (2,), np.array([1, 1], np.int32).tobytes()),
        Tensor("scores_length", "INT64", (2, 1), np.array([1, 1]).tobytes()),
        Tensor("scores_length", "INT64", (2,), np.array([9, 9]).tobytes()),
        Tensor("scores_length", "INT64", (2,), np.array([-1, -1]).tobytes()),
    ],
)
def test_what_tells_no_length_cuts_nothing(beside: Tensor) -> None:
    scores = Tensor("scores", "FP32", (2, 3), np.zeros(6, np.float32).tobytes())
    assert trim([scores, beside])[0] == scores
