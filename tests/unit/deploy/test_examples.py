"""Requests to try a model with: made up from metadata, and one protocol's out of the other's."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.modelstore.examples import as_v2, v1_request, v2_request

IMAGE: Dict[str, Any] = {"inputs": [{"name": "input-0", "datatype": "FP32", "shape": [-1, 1, 2, 3]}]}
TABLE: Dict[str, Any] = {
    "inputs": [
        {"name": "usage", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "plan", "datatype": "INT64", "shape": [-1]},
    ]
}


def test_rows_that_are_made_up_have_the_metadatas_shapes() -> None:
    (tensor,) = v2_request(IMAGE)["inputs"]  # type: ignore[index]
    assert (tensor["shape"], tensor["data"]) == ([1, 1, 2, 3], [1.0] * 6)
    assert v1_request(IMAGE) == {"instances": [[[[1.0] * 3] * 2]]}
    assert v1_request(TABLE) == {"instances": [{"usage": [1.0, 1.0], "plan": 1}]}
    assert v2_request({"inputs": []}) is None
    assert v1_request({}) is None


@given(st.lists(st.tuples(st.lists(st.integers(0, 9), min_size=2, max_size=2), st.integers(0, 3)), min_size=1))
def test_rows_of_a_table_are_the_same_in_both_protocols(rows: List[Any]) -> None:
    request = as_v2({"instances": [{"usage": usage, "plan": plan} for usage, plan in rows]}, TABLE)
    assert request is not None
    columns = {one["name"]: np.reshape(one["data"], one["shape"]).tolist() for one in request["inputs"]}
    assert columns == {"usage": [usage for usage, _ in rows], "plan": [plan for _, plan in rows]}
    assert [one["datatype"] for one in request["inputs"]] == ["FP32", "INT64"]


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_encoded_images_and_texts_become_bytes(texts: List[str]) -> None:
    wanted = {"name": "input-0", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
    assert as_v2({"instances": texts}, IMAGE) == {"inputs": [wanted]}
    assert as_v2({"instances": [{"data": text} for text in texts]}, IMAGE) == {"inputs": [wanted]}


@pytest.mark.parametrize(
    ("request_", "metadata"),
    [
        ({"instances": [[1, 2], [3]]}, IMAGE),
        ({"instances": [{"usage": [1, 2]}]}, TABLE),
        ({"instances": [{"other": 1}]}, IMAGE),
        ({"instances": []}, IMAGE),
        ({"instances": ["a"]}, {}),
    ],
)
def test_rows_that_do_not_tell_how_are_left(request_: Dict[str, Any], metadata: Dict[str, Any]) -> None:
    assert as_v2(request_, metadata) is None
