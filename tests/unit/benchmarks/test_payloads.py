"""What travels carries the image that it should, in every form."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from benchmarks import payloads
from benchmarks.images import DISTINCT, digit_png, pixels, pngs

INDICES = st.integers(0, DISTINCT - 1)


def test_images_differ_and_are_the_same_each_time() -> None:
    drawn = pngs(DISTINCT)
    assert len(set(drawn)) == DISTINCT
    assert drawn == pngs(DISTINCT)
    assert pngs(2, first=DISTINCT - 1) == [drawn[-1], drawn[0]]


@pytest.mark.parametrize("side", [28, 56, 448])
def test_images_have_the_side_asked_for(side: int) -> None:
    image = pixels(digit_png(3, side))
    assert image.shape == (side, side)
    assert image.max() > 128


@settings(deadline=None, max_examples=30)
@given(INDICES, st.integers(1, 4))
def test_v1_carries_the_files(first: int, rows: int) -> None:
    images = pngs(rows, first)
    request = payloads.v1("/p", images)
    assert [base64.b64decode(one["data"]) for one in json.loads(request.body)["instances"]] == images
    assert request.rows == rows


@settings(deadline=None, max_examples=30)
@given(INDICES, st.integers(1, 3))
def test_all_tensor_forms_carry_the_same_numbers(first: int, rows: int) -> None:
    images = pngs(rows, first)
    right = np.stack([payloads.unit_floats(image) for image in images])
    (tensor,) = json.loads(payloads.v2_json("/p", images).body)["inputs"]
    assert tensor["shape"] == [rows, 1, 28, 28]
    np.testing.assert_allclose(np.asarray(tensor["data"], np.float32), right, atol=1e-6)
    separate = json.loads(payloads.v2_separate_json("/p", images).body)["inputs"]
    np.testing.assert_allclose(np.asarray([one["data"] for one in separate], np.float32), right, atol=1e-6)
    binary = payloads.v2_binary("/p", images)
    length = int(binary.headers["Inference-Header-Content-Length"])
    size = json.loads(binary.body[:length])["inputs"][0]["parameters"]["binary_data_size"]
    assert len(binary.body) == length + size
    assert np.array_equal(np.frombuffer(binary.body[length:], "<f4").reshape(right.shape), right)
    typed = service_pb2.ModelInferRequest.FromString(payloads.grpc_typed("mnist", images))
    assert np.array_equal(np.float32(typed.inputs[0].contents.fp32_contents).reshape(right.shape), right)
    raw = service_pb2.ModelInferRequest.FromString(payloads.grpc_raw("mnist", images))
    assert np.array_equal(np.frombuffer(raw.raw_input_contents[0], "<f4").reshape(right.shape), right)


def test_a_file_as_the_body_is_one_image() -> None:
    assert payloads.raw_image("/p", pngs(1)).body == pngs(1)[0]
    with pytest.raises(ValueError, match="unpack"):
        payloads.raw_image("/p", pngs(2))
