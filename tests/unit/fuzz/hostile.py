"""Strategies for what an attacker sends: requests that are nearly right, and values at every edge."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: Examples a test, of which `make soak` takes many more.
EXAMPLES = 3000 if os.environ.get("SOAK", "") not in ("", "0") else 150
fuzz = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))

NUMBERS = st.sampled_from(
    [0, -0.0, 1, -1, 2, 28, 255, 256, 1e-320, 1e308, 0.5, 2**31, 2**32, -(2**63), 2**63 - 1, 2**63, 2**64 - 1, 10**9]
)
TEXTS = st.sampled_from(
    [
        *("", " ", "NaN", "Infinity", "-Infinity", "1", "-1", "9" * 30, "9" * 5000, "true", "null", "..", "../../etc"),
        *("%00", "\x00", "\r\nX-Injected: 1", "é", "١", "data:;base64,", "iVBORw0KGgo=", "AAAA", "====", "x" * 5000),
    ]
)
SCALARS = st.one_of(NUMBERS, TEXTS, st.booleans(), st.none())
KEYS = st.sampled_from(
    [
        *("instances", "inputs", "outputs", "parameters", "id", "name", "shape", "datatype", "data", "body", "b64"),
        *("image_bytes", "target", "targets", "method", "n_steps", "top_k", "probabilities", "normalized", "input-0"),
        *("binary_data_size", "binary_data", "binary_data_output", "classification", "shared_memory_region", ""),
        *("sliding_window_size", "strides", "sliding_window", "stride", "baseline", "internal_batch_size", "seed"),
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
DATATYPES = st.sampled_from(
    [*(["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"]), "FP99", "", "bytes", "O"]
)
SIZES = st.sampled_from([-1, 0, 1, 2, 3, 28, 784, 10**9, 2**31, 2**62, 2**63 - 1, 2**64 - 1, 1.0, "1", True, None])
SHAPES = st.one_of(st.lists(SIZES, max_size=6), SIZES, st.just([1] * 100), VALUES)
PARAMETERS = st.one_of(st.dictionaries(KEYS, SCALARS, max_size=3), VALUES)
IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgABc3UBGAAAAABJRU5ErkJggg=="
ROWS = st.one_of(
    VALUES,
    st.just(IMAGE),
    st.fixed_dictionaries(
        {"data": st.one_of(st.just(IMAGE), VALUES)}, optional={"target": VALUES, "parameters": VALUES}
    ),
    st.fixed_dictionaries({"b64": st.one_of(st.just(IMAGE), VALUES)}),
    st.just([[0.5] * 28] * 28),
    st.just([[[1] * 28] * 28] * 3),
)


def optional(**strategies: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with any of these keys."""
    return st.fixed_dictionaries({}, optional=strategies)


TENSORS = st.one_of(
    optional(name=st.one_of(TEXTS, VALUES), datatype=DATATYPES, shape=SHAPES, data=VALUES, parameters=PARAMETERS),
    st.fixed_dictionaries(
        {"name": TEXTS, "datatype": DATATYPES, "shape": SHAPES, "data": st.lists(SCALARS, max_size=5)},
        optional={"parameters": PARAMETERS},
    ),
    st.fixed_dictionaries(
        {
            "name": st.just("input-0"),
            "datatype": DATATYPES,
            "shape": st.sampled_from(
                [[1, 28, 28], [1, 1, 28, 28], [28, 28], [784], [1], -1, [-1], [2], [2, 1, 28, 28]]
            ),
            "data": st.one_of(st.just([0] * 784), st.just([0.5] * 784), st.just([IMAGE]), VALUES),
        },
        optional={"parameters": PARAMETERS},
    ),
)
V1 = st.one_of(
    st.fixed_dictionaries({"instances": st.lists(ROWS, min_size=1, max_size=4)}, optional={"parameters": PARAMETERS}),
    optional(instances=VALUES, inputs=VALUES, parameters=PARAMETERS, signature_name=VALUES),
)
V2 = st.fixed_dictionaries(
    {"inputs": st.one_of(st.lists(TENSORS, max_size=3), VALUES)},
    optional={
        "id": st.one_of(TEXTS, VALUES),
        "parameters": PARAMETERS,
        "outputs": st.one_of(st.lists(optional(name=TEXTS, parameters=PARAMETERS), max_size=3), VALUES),
    },
)
DOCUMENTS = st.one_of(V1, V2, VALUES)
HEADER_LENGTHS = st.one_of(
    st.none(),
    st.integers(-2, 400).map(str),
    st.sampled_from(["", " 5", "5 ", "+5", "-0", "٣", "1e3", "0x10", "9" * 30, "9" * 5000, "0" * 5000 + "2", "\r\n"]),
)
