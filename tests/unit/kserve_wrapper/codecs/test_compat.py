"""``--compat``: the stock runtime's names and forms, value for value."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.codecs.compat import stock_document, stock_reply
from kserve_wrapper.core.calls import Tensor, V2Call, V2Reply
from kserve_wrapper.tensors.datatypes import bytes_elements, join_bytes


def call(*inputs: Tensor) -> V2Call:
    return V2Call("mnist", "1.0", False, list(inputs))


def pixels(name: str, rows: int) -> Tensor:
    return Tensor(name, "UINT8", (rows, 2), bytes(2 * rows))


def answer(values: np.ndarray) -> V2Reply:  # type: ignore[type-arg]
    datatype = {"f": "FP32", "i": "INT64"}[values.dtype.kind]
    return V2Reply([Tensor("predict", datatype, values.shape, values.tobytes())], "1.0", {"targets": "1"})


def test_the_whole_document() -> None:
    document = stock_document(call(pixels("input-0", 1)), "seven", answer(np.array([1], "<i8")))
    output = {"name": "input-0", "shape": [1], "datatype": "INT64", "parameters": None, "data": [1]}
    wanted = {
        "model_name": "mnist",
        "model_version": "1.0",
        "id": "seven",
        "parameters": None,
        "outputs": [output],
    }
    assert list(document.items()) == list(wanted.items())


def test_a_request_without_id_gets_a_new_one() -> None:
    made = [stock_document(call(pixels("a", 1)), None, answer(np.array([1], "<i8")))["id"] for _ in range(2)]
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", one) for one in made)
    assert made[0] != made[1]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(1, 3), st.booleans())
def test_each_input_gets_its_own_rows_flat(counts: list[int], width: int, floats: bool) -> None:
    values = np.arange(sum(counts) * width, dtype="<f4" if floats else "<i8").reshape(sum(counts), width)
    inputs = [pixels(f"in-{index}", count) for index, count in enumerate(counts)]
    start = 0
    for tensor, count, own in zip(inputs, counts, stock_reply(call(*inputs), answer(values)).outputs):
        assert (own.name, own.datatype) == (tensor.name, "FP64" if floats else "INT64")
        assert own.shape == (count * width,)
        wanted = values[start : start + count].ravel().tolist()
        assert np.frombuffer(own.data, "<f8" if floats else "<i8").tolist() == wanted
        start += count


def test_texts_stay_bytes() -> None:
    reply = V2Reply([Tensor("predict", "BYTES", (2,), join_bytes([b"cat", b"dog"]))])
    first, second = stock_reply(call(pixels("a", 1), pixels("b", 1)), reply).outputs
    assert (bytes_elements(first.data), bytes_elements(second.data)) == ([b"cat"], [b"dog"])
