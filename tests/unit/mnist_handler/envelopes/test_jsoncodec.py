"""JSON by orjson and by the standard library: the same documents, the same refusals."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_handler.envelopes import jsoncodec
from mnist_handler.envelopes.jsoncodec import dumps, jsonable, loads

needs_orjson = pytest.mark.skipif(jsoncodec.orjson is None, reason="orjson is not installed: nothing to compare")
DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def plainly(function: Any, argument: Any) -> Any:
    """The function's result without orjson."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsoncodec, "orjson", None)
        return function(argument)


def refuses(text: Any) -> bool:
    try:
        loads(text)
    except (ValueError, RecursionError):
        return True
    return False


@given(DOCUMENTS)
def test_answers_are_lawful_json_and_lose_nothing(document: Any) -> None:
    for text in (dumps(document), plainly(dumps, document)):
        assert same_document(json.loads(text, parse_constant=refuse), document)


@needs_orjson
@given(DOCUMENTS)
def test_both_libraries_read_the_same(document: Any) -> None:
    text = json.dumps(document).encode()
    assert refuses(text) == plainly(refuses, text)
    if not refuses(text):
        assert loads(text) == plainly(loads, text)


@needs_orjson
@pytest.mark.parametrize(
    "text",
    [
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"1e999",
        b"[-1e999]",
        b'"\\ud800"',
        b'{"\\udc00":1}',
        b"\xff",
        b"",
        b'{"a":1',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"[1,]",
        b"nan",
        b"01",
        b'"\t"',
        b"[" * 3000,
    ],
)
def test_both_libraries_refuse(text: bytes) -> None:
    assert refuses(text)
    assert plainly(refuses, text)


@pytest.mark.parametrize("text", [b'{"a":1,"a":2}', bytearray(b'{"a":2}'), '{"a":2}'])
def test_of_equal_keys_the_last_one_counts(text: Any) -> None:
    assert loads(text) == plainly(loads, text) == {"a": 2}


@given(st.lists(st.floats(width=16), max_size=4), st.sampled_from(["f2", "f4", "f8"]))
def test_arrays_of_floats_name_what_is_not_finite(values: Any, dtype: str) -> None:
    array = np.array(values, dtype).reshape(1, -1)
    for text in (dumps(jsonable(array)), plainly(lambda a: dumps(jsonable(a)), array)):
        (read,) = json.loads(text, parse_constant=refuse)
        assert np.array_equal(np.array([float(value) for value in read], dtype), array[0], equal_nan=True)
        assert [type(value) is str for value in read] == (~np.isfinite(array[0])).tolist()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"x": b"\xff"}, {"x": {"b64": "/w=="}}),
        ([np.int64(3), np.float16(0.5), np.bool_(True)], [3, 0.5, True]),
        ({"x": np.array([1.0, np.nan])}, {"x": [1.0, "NaN"]}),
        ({1: 2**70}, {"1": 2**70}),
        ([np.ones((2, 4))[:, ::2], np.array(["a"])], [[[1.0, 1.0], [1.0, 1.0]], ["a"]]),
        (["null", None, math.inf], ["null", None, "Infinity"]),
        ((1, "\ud800"), [1, "\ud800"]),
    ],
)
def test_what_models_answer_has_one_form(value: Any, expected: Any) -> None:
    assert json.loads(dumps(value)) == expected
    assert json.loads(plainly(dumps, value)) == expected


def test_what_has_no_form_is_the_models_bug() -> None:
    with pytest.raises(TypeError, match="object"):
        dumps({"x": object()})


def refuse(token: str) -> float:
    raise AssertionError(f"{token} is not JSON")


def same_document(read: Any, meant: Any) -> bool:
    if isinstance(meant, float) and not math.isfinite(meant):
        return bool(read == ("NaN" if math.isnan(meant) else "Infinity" if meant > 0 else "-Infinity"))
    if isinstance(meant, list):
        return isinstance(read, list) and len(read) == len(meant) and all(map(same_document, read, meant))
    if isinstance(meant, dict):
        return (
            isinstance(read, dict)
            and list(read) == list(meant)
            and all(same_document(read[key], meant[key]) for key in meant)
        )
    return type(read) is type(meant) and bool(read == meant)
