"""Hypothesis strategies for tensors and parameters."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np
from hypothesis import strategies as st

from kserve_wrapper.core.calls import Tensor
from kserve_wrapper.tensors.bfloat16 import narrow, widen
from kserve_wrapper.tensors.datatypes import DATATYPES, DTYPES, join_bytes

names = st.text(min_size=1, max_size=8)
parameters = st.dictionaries(
    st.text(max_size=6).filter(lambda name: not name.startswith(("binary_data", "shared_memory", "classification"))),
    st.one_of(
        st.text(max_size=6),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    max_size=3,
)
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)


def _data(draw: Any, datatype: str, count: int, text: bool) -> bytes:
    if datatype == "BYTES":
        element = st.text(max_size=5).map(str.encode) if text else st.binary(max_size=5)
        return join_bytes(draw(st.lists(element, min_size=count, max_size=count)))
    dtype = DTYPES["UINT16" if datatype == "BF16" else datatype]
    raw: bytes = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
    if datatype == "BOOL":
        return bytes(byte & 1 for byte in raw)
    if datatype == "BF16":
        return narrow(widen(raw)).tobytes()
    array = np.frombuffer(raw, dtype)
    # One NaN is as good as another; its bits need not survive text.
    return np.where(np.isnan(array), np.array(np.nan, dtype), array).tobytes() if dtype.kind == "f" else raw


@st.composite
def tensors(draw: Any, datatypes: Any = DATATYPES, text: bool = True) -> Tensor:
    """A tensor of any datatype and shape. ``text``: BYTES elements are UTF-8."""
    datatype = draw(st.sampled_from(list(datatypes)))
    shape = draw(shapes)
    if datatype == "BYTES" and shape == ():
        shape = (1,)
    count = int(np.prod(shape, dtype=np.int64))
    return Tensor(draw(names), datatype, shape, _data(draw, datatype, count, text), draw(parameters))


def tensor_lists(text: bool = True, datatypes: Any = DATATYPES) -> st.SearchStrategy[List[Tensor]]:
    """One tensor or more, no name twice."""
    return st.lists(tensors(datatypes, text), min_size=1, max_size=4, unique_by=lambda tensor: tensor.name)


#: Anything that a JSON body may hold.
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=10,
)


def damaged(content: Dict[str, Any]) -> st.SearchStrategy[Dict[str, Any]]:
    """``content`` with one of its values replaced by anything."""
    return st.tuples(st.sampled_from(sorted(content)), json_values).map(lambda pair: {**content, pair[0]: pair[1]})
