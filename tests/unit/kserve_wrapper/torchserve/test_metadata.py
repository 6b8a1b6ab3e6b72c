"""Whatever a handler answers to describe becomes lawful metadata."""

from __future__ import annotations

from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.core.calls import TensorMetadata
from kserve_wrapper.torchserve.metadata import to_metadata

TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1.0, 28]}


def test_what_a_handler_tells() -> None:
    told = {"name": "other", "versions": ["9"], "platform": "pytorch_x", "inputs": [TENSOR], "labels": ["a"]}
    metadata = to_metadata("m", ["1", "2"], {**told, "extensions": ["raw_body", 3]})
    assert (metadata.name, metadata.versions, metadata.platform) == ("m", ["1", "2"], "pytorch_x")
    assert metadata.inputs == [TensorMetadata("x", "FP32", (-1, 28))]
    assert metadata.extensions == ["raw_body"]
    assert metadata.extra == {"labels": ["a"]}


@pytest.mark.parametrize(
    ("told", "size"), [(8, 8), (8.0, 8), (0, None), (-1, None), (2.5, None), (True, None), ("8", None)]
)
def test_the_batch_size_that_a_handler_prefers(told: object, size: Optional[int]) -> None:
    metadata = to_metadata("m", ["1"], {"extensions": [], "preferred_batch_size": told})
    assert metadata.preferred_batch_size == size


@pytest.mark.parametrize("told", [None, {}, {"predictions": [1]}, {"inputs": "x"}, {"inputs": [{"name": 1}]}])
def test_what_is_no_metadata_is_passed_over(told: object) -> None:
    metadata = to_metadata("m", ["1"], told)  # type: ignore[arg-type]
    assert (metadata.inputs, metadata.extensions, metadata.extra) == ([], [], {})
    assert metadata.platform == "pytorch_eager"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "datatype", "shape", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


TENSORS = st.lists(
    st.fixed_dictionaries(
        {"name": st.just("x"), "datatype": st.just("FP32"), "shape": st.lists(st.floats() | st.integers(), max_size=3)}
    ),
    max_size=3,
)


@given(TENSORS)
def test_sizes_are_whole_numbers(tensors: list[dict[str, object]]) -> None:
    inputs = to_metadata("m", ["1"], {"inputs": tensors, "extensions": []}).inputs
    lawful = [t for t in tensors if all(n >= -1 and n % 1 == 0 for n in t["shape"])]  # type: ignore[attr-defined]
    assert [list(tensor.shape) for tensor in inputs] == [t["shape"] for t in lawful]


@given(st.dictionaries(st.sampled_from(["inputs", "outputs", "extensions", "platform", "name", "y"]), JSON))
def test_any_answer_will_do(told: dict[str, object]) -> None:
    metadata = to_metadata("m", ["1"], told)
    for tensor in [*metadata.inputs, *metadata.outputs]:
        assert all(isinstance(size, int) and size >= -1 for size in tensor.shape)
    assert all(isinstance(name, str) for name in metadata.extensions)
    assert isinstance(metadata.platform, str)
