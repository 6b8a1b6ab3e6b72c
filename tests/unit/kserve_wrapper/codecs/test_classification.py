"""The best classes of an output, as Triton writes them."""

from __future__ import annotations

from typing import Any, List

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kserve_wrapper.codecs.classification import asked_classes, classified
from kserve_wrapper.core.calls import Tensor
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.tensors.datatypes import bytes_elements
from tests.unit.kserve_wrapper.fakes import Front

SCORES = np.array([[0.125, 0.5, 0.375], [1, 0, 0]], "<f4")
TENSOR = Tensor("scores", "FP32", (2, 3), SCORES.tobytes())


def texts(tensor: Tensor) -> List[bytes]:
    return bytes_elements(tensor.data)


def test_scores_indices_and_labels_best_first() -> None:
    [named] = classified([TENSOR], {"scores": 2}, ["cat", "dog", "eel"])
    assert (named.datatype, named.shape) == ("BYTES", (2, 2))
    assert texts(named) == [b"0.500000:1:dog", b"0.375000:2:eel", b"1.000000:0:cat", b"0.000000:1:dog"]


def test_without_labels_for_each_class_there_are_none() -> None:
    [plain] = classified([TENSOR], {"scores": 1}, ["cat"])
    assert texts(plain) == [b"0.500000:1", b"1.000000:0"]


def test_others_stay_as_they_are() -> None:
    assert classified([TENSOR], {"other": 1}, []) == [TENSOR]


@given(arrays.arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(1, 6))), st.integers(1, 8))
def test_every_row_is_ranked_by_itself(scores: Any, count: int) -> None:
    [ranked] = classified([Tensor("s", "INT64", scores.shape, scores.tobytes())], {"s": count}, [])
    best = min(count, scores.shape[1])
    assert ranked.shape == (len(scores), best)
    for row, told in zip(scores, np.array(texts(ranked)).reshape(ranked.shape)):
        indices = [int(text.split(b":")[1]) for text in told]
        assert len(set(indices)) == best
        assert sorted(row[indices].astype(float), reverse=True) == row[indices].astype(float).tolist()
        others = [float(row[index]) for index in range(len(row)) if index not in indices]
        assert all(float(row[indices[-1]]) >= other for other in others)


@pytest.mark.parametrize("tensor", [Tensor("p", "INT64", (2,), bytes(16)), Tensor("p", "BYTES", (1, 1), bytes(4))])
def test_what_has_no_classes_is_named(tensor: Tensor) -> None:
    with pytest.raises(InvalidRequest, match="output 'p'"):
        classified([tensor], {"p": 1}, [])


@pytest.mark.parametrize("count", [-1, True, "3", 1.5])
def test_what_is_no_number_of_classes(count: Any) -> None:
    with pytest.raises(InvalidRequest, match="number of classes"):
        asked_classes({"classification": count}, "outputs[0]")


def test_over_http() -> None:
    front = Front()
    front.models.extra = {"labels": ["cat", "dog"]}
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]}
    body = {"inputs": [tensor], "outputs": [{"name": "x", "parameters": {"classification": 5}}]}
    [output] = front.call("POST", "/v2/models/mnist/infer", body).json["outputs"]
    assert output == {"name": "x", "datatype": "BYTES", "shape": [1, 2], "data": ["0.750000:1:dog", "0.250000:0:cat"]}
