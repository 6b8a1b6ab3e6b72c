"""From a model's metadata to what a person fills in, and from that to requests."""

from __future__ import annotations

import base64
import io
import json
from typing import Any, Optional

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kserve_wrapper.trying import forms


def metadata(*inputs: tuple[str, str, list[int]], **properties: Any) -> dict[str, Any]:
    """As the wrapper tells it: properties are text, lists JSON."""
    tensors = [{"name": name, "datatype": datatype, "shape": [-1, *shape]} for name, datatype, shape in inputs]
    told = {key: value if isinstance(value, str) else json.dumps(value) for key, value in properties.items()}
    return {"name": "m", "inputs": tensors, "outputs": [], "properties": told}


SCORED = [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}, {"name": "explain"}]
DIGITS = metadata(("input-0", "FP32", [1, 28, 28]), optional_outputs=SCORED, tensors="unit", resize="0")
CHURN = metadata(("usage", "FP32", [2]), ("plan", "INT64", []), ("name", "BYTES", []), ("yes", "BOOL", []))


@pytest.mark.parametrize(
    ("inputs", "kind"),
    [
        ([("x", "FP32", [1, 28, 28])], forms.IMAGE),
        ([("x", "UINT8", [3, -1, -1])], forms.IMAGE),
        ([("x", "FP32", [4, 28, 28])], forms.TABLE),
        ([("text", "BYTES", [])], forms.TEXT),
        ([("text", "BYTES", [1])], forms.TEXT),
        ([("text", "BYTES", []), ("n", "INT64", [])], forms.TABLE),
        ([("x", "FP32", [5])], forms.TABLE),
        ([], forms.TABLE),
    ],
)
def test_what_a_model_takes_tells_the_form(inputs: list[tuple[str, str, list[int]]], kind: str) -> None:
    assert forms.read_form(metadata(*inputs)).kind == kind


def test_classes_and_methods_are_the_models_own() -> None:
    form = forms.read_form(DIGITS)
    assert form.labels == ("0", "1", "2")
    assert form.methods == forms.METHODS
    named = metadata(("x", "FP32", [2]), optional_outputs=SCORED, labels=["a", "b", "c"], methods=["saliency"])
    assert forms.read_form(named).label(2) == "c"
    assert forms.read_form(named).methods == ("saliency",)
    assert forms.read_form(CHURN).methods == ()


def test_metadata_of_no_protocol_are_told() -> None:
    with pytest.raises(forms.FormError, match="without name"):
        forms.read_form({"inputs": [{"datatype": "FP32"}]})


def test_a_picture_goes_as_it_is_where_the_model_decodes() -> None:
    picture = Image.new("L", (50, 40), 7)
    [sent] = forms.image_inputs(forms.read_form(DIGITS), picture)
    assert (sent["datatype"], sent["shape"]) == ("BYTES", [1])
    with Image.open(io.BytesIO(base64.b64decode(sent["data"][0]))) as got:
        assert (got.size, got.getpixel((0, 0))) == ((50, 40), 7)


@pytest.mark.parametrize(("datatype", "value"), [("FP32", 1.0), ("UINT8", 255)])
def test_a_picture_goes_as_pixels_where_it_does_not(datatype: str, value: float) -> None:
    form = forms.read_form(metadata(("x", datatype, [3, 2, 4])))
    [sent] = forms.image_inputs(form, Image.new("RGB", (9, 9), (255, 0, 0)))
    assert sent["shape"] == [1, 3, 2, 4]
    assert sent["data"] == [value] * 8 + [0] * 16


def test_a_table_has_a_column_a_number_and_becomes_typed_inputs() -> None:
    form = forms.read_form(CHURN)
    assert form.columns == ["usage[0]", "usage[1]", "plan", "name", "yes"]
    sent = forms.table_inputs(form, [["1.5", 2, "3", "Ann", "true"], ["", None, "", "", ""], [0, 0, 1, "Bo", "0"]])
    assert sent == [
        {"name": "usage", "datatype": "FP32", "shape": [2, 2], "data": [1.5, 2.0, 0.0, 0.0]},
        {"name": "plan", "datatype": "INT64", "shape": [2], "data": [3, 1]},
        {"name": "name", "datatype": "BYTES", "shape": [2], "data": ["Ann", "Bo"]},
        {"name": "yes", "datatype": "BOOL", "shape": [2], "data": [True, False]},
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["x", 1, 1, "a", "true"], r"row 1, usage\[0\]: 'x' is no number"),
        ([1, 1, "1.5", "a", "true"], "row 1, plan: '1.5' is no whole number"),
        ([1, 1, 1, "a", "perhaps"], "row 1, yes: 'perhaps' is neither true nor false"),
        ([1, "inf", 1, "a", "true"], r"row 1, usage\[1\]: 'inf' is no number"),
        (["", "", "", "", ""], "the table is empty"),
    ],
)
def test_a_wrong_cell_is_named(row: list[Any], message: str) -> None:
    with pytest.raises(forms.FormError, match=message):
        forms.table_inputs(forms.read_form(CHURN), [row])


def test_long_rows_and_rows_of_any_length_are_one_cell() -> None:
    wide = forms.read_form(metadata(("x", "FP32", [100])))
    assert wide.columns == ["x"]
    with pytest.raises(forms.FormError, match="row 1, x: 2 values, and the model takes 100"):
        forms.table_inputs(wide, [["1 2"]])
    ragged = forms.read_form(metadata(("ids", "INT64", [-1])))
    assert forms.table_inputs(ragged, [["4, 5 6"]])[0] == {
        "name": "ids",
        "datatype": "INT64",
        "shape": [1, 3],
        "data": [4, 5, 6],
    }
    with pytest.raises(forms.FormError, match="cannot go together"):
        forms.table_inputs(ragged, [["4 5"], ["6"]])


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3), min_size=1, max_size=4))
def test_integers_travel_whole(rows: list[list[int]]) -> None:
    form = forms.read_form(metadata(("x", "INT64", [3])))
    [sent] = forms.table_inputs(form, [[str(cell) for cell in row] for row in rows])
    assert np.array(sent["data"], object).reshape(sent["shape"]).tolist() == rows


@pytest.mark.parametrize(("target", "more"), [(None, {}), (0, {"target": 0})])
def test_requests(target: Optional[int], more: dict[str, int]) -> None:
    form = forms.read_form(DIGITS)
    assert forms.predict_request(form, []) == {"inputs": [], "parameters": {"probabilities": True}}
    assert forms.predict_request(forms.read_form(CHURN), []) == {"inputs": []}
    asked = forms.explain_request([], "saliency", target)
    assert asked["parameters"] == {"method": "saliency", "targets": True, **more}
