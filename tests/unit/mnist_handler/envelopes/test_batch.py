"""The worker's batch: random clients side by side, each gets exactly its own answer and nobody else's."""

from __future__ import annotations

import json
import logging
from typing import Any, Dict, List, NamedTuple, Union

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mnist_handler.envelopes.batch import WireEnvelope
from mnist_handler.envelopes.datatypes import join_elements
from mnist_handler.requests import Answer, Request, RequestError
from tests.unit.mnist_handler.envelopes.wire_worker import (
    JSON_HEADERS,
    SENT_FORMS,
    Sent,
    ask,
    make_context,
    sent_binary,
    sent_json,
)


def rows_of(request: Request) -> List[Any]:
    """The request's rows, over all inputs, as text."""
    rows: List[Any] = []
    for _, block in request.inputs:
        for value in block.values:
            rows.append(value.decode() if isinstance(value, (bytes, bytearray)) else str(value))
    return rows


def echo(requests: List[Request], context: Any) -> List[Union[Answer, RequestError]]:
    """A model that answers every row with itself and its verb, and refuses rows that read "bad"."""
    answers: List[Union[Answer, RequestError]] = []
    for request in requests:
        rows = rows_of(request)
        faults = {i: f"row {i} is bad" for i, row in enumerate(rows) if row == "bad"}
        verb = "explain" if request.explain else "predict"
        answers.append(
            RequestError(400, "bad rows", faults) if faults else Answer({verb: [f"{verb} {row}" for row in rows]})
        )
    return answers


class Case(NamedTuple):
    sent: Sent
    status: int
    #: The whole body; for errors the rows at fault, or None where no rows are named.
    expected: Any


ROWS = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=4)


@st.composite
def v1_cases(draw: st.DrawFn) -> Case:
    rows, explain, form = draw(ROWS), draw(st.booleans()), draw(SENT_FORMS)
    instances = [draw(st.sampled_from([row, {"data": row}, {"body": row, "target": 1}])) for row in rows]
    sent = sent_json({draw(st.sampled_from(["instances", "inputs"])): instances}, explain, form)
    verb, key = ("explain", "explanations") if explain else ("predict", "predictions")
    return Case(sent, 200, {key: [f"{verb} {row}" for row in rows]})


@st.composite
def v2_cases(draw: st.DrawFn) -> Case:
    inputs, explain = draw(st.lists(ROWS, min_size=1, max_size=3)), draw(st.booleans())
    id_ = draw(st.none() | st.text(max_size=3))
    verb = "explain" if explain else "predict"
    entries: List[Dict[str, Any]] = [{"name": "x", "datatype": "BYTES", "shape": [len(rows)]} for rows in inputs]
    document: Dict[str, Any] = {"inputs": entries, "outputs": [{"name": verb}]}
    if id_ is not None:
        document["id"] = id_
    if draw(st.booleans()):
        blobs = [join_elements([row.encode() for row in rows]) for rows in inputs]
        for entry, blob in zip(entries, blobs):
            entry["parameters"] = {"binary_data_size": len(blob)}
        name = draw(st.sampled_from(["inference-header-content-length", "INFERENCE-Header-Content-Length"]))
        sent = sent_binary(document, blobs, explain, name)
    else:
        for entry, rows in zip(entries, inputs):
            entry["data"] = rows
        sent = sent_json(document, explain, draw(SENT_FORMS))
    answered = [f"{verb} {row}" for rows in inputs for row in rows]
    expected: Dict[str, Any] = {} if id_ is None else {"id": id_}
    output = {"name": verb, "shape": [len(answered)], "datatype": "BYTES", "data": answered}
    return Case(sent, 200, {**expected, "model_name": "registered", "model_version": "1.0", "outputs": [output]})


@st.composite
def raw_cases(draw: st.DrawFn) -> Case:
    row, field = draw(st.text("abc", max_size=3)), draw(st.sampled_from(["data", "body", "image"]))
    value = draw(st.sampled_from([row, bytearray(row.encode())]))
    headers = {field: {"content-type": "image/png"}}
    if draw(st.booleans()):
        return Case(Sent({field: value}, {**headers, "explain": "True"}), 200, f"explain {row}")
    return Case(Sent({field: value}, headers), 200, f"predict {row}")


@st.composite
def bad_row_cases(draw: st.DrawFn) -> Case:
    rows = draw(ROWS)
    at = draw(st.integers(0, len(rows)))
    instances = [{"data": row} for row in rows]
    instances.insert(at, draw(st.sampled_from([{"data": "bad"}, {"b64": "%"}, {}])))
    return Case(sent_json({"instances": instances}, draw(st.booleans()), draw(SENT_FORMS)), 400, [str(at)])


BROKEN = [
    Sent({"body": bytearray(b'{"instances": [')}, JSON_HEADERS),
    Sent({"body": bytearray(b"[1, NaN]")}, JSON_HEADERS),
    Sent({"body": bytearray(b"\xff")}, {"body": {"content-type": "application/json; charset=utf-8"}}),
    Sent({"body": bytearray(b'{"a":' * 5000)}, {}),
    Sent({"body": bytearray(b'{"instances":' + b"[" * 900 + b"]" * 900 + b"}")}, {}),
    Sent(
        {
            "body": bytearray(
                b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":' + b"[" * 900 + b"]" * 900 + b"}]}"
            )
        },
        {},
    ),
    Sent({"body": bytearray(b"{}")}, {"inference-header-content-length": "3"}),
    Sent({}, {}),
    Sent({"left": b"1", "right": b"2"}, {}),
    Sent({'{"instances": ["a': bytearray(b'"]}')}, {}),
    Sent({"body": {"instance": ["a"]}}, JSON_HEADERS),
    Sent({"body": {"instances": None}}, JSON_HEADERS),
    Sent({"body": {"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [300]}]}}, JSON_HEADERS),
    Sent({"body": {"inputs": [{"name": "\ud800", "datatype": "INT8", "shape": [1], "data": [300]}]}}, JSON_HEADERS),
    Sent({"body": {"inputs": [{"name": "x" * 10**5, "datatype": "INT8", "shape": [10**9], "data": []}]}}, {}),
]
CASES = st.one_of(
    v1_cases(),
    v2_cases(),
    raw_cases(),
    bad_row_cases(),
    st.sampled_from(BROKEN).map(lambda sent: Case(sent, 400, None)),
)


@given(st.lists(CASES, max_size=8))
@example([Case(sent, 400, None) for sent in BROKEN])
def test_every_client_gets_its_own_answer(cases: List[Case]) -> None:
    for case, got in zip(cases, ask(WireEnvelope(echo), [case.sent for case in cases])):
        assert (got.status, len(got.body) < 10**4) == (case.status, True)
        if case.status == 200 and isinstance(case.expected, str):
            assert (got.headers["content-type"], got.body) == ("text/plain; charset=utf-8", case.expected.encode())
        elif case.status == 200:
            assert (got.headers["content-type"], got.json()) == ("application/json", case.expected)
        else:
            assert (got.headers["content-type"], got.phrase) == ("application/json", "Bad Request")
            assert got.json()["error"]
            assert case.expected in (None, list(got.json().get("rows", ())))


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
    | st.just("FP32"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["inputs", "instances", "data", "b64", "name", "shape", "datatype", "parameters", "outputs"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=2) | JSON_VALUES,
        "datatype": st.sampled_from(["BYTES", "FP16", "BOOL"]) | JSON_VALUES,
        "shape": st.lists(st.integers(-1, 3), max_size=2) | JSON_VALUES,
        "data": JSON_VALUES,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-2, 20) | JSON_VALUES}),
    },
)
DOCUMENTS = JSON_VALUES | st.fixed_dictionaries(
    {"inputs": st.lists(ENTRY, max_size=2)},
    optional={"id": JSON_VALUES, "outputs": JSON_VALUES, "parameters": JSON_VALUES},
)


@given(DOCUMENTS, st.binary(max_size=20), st.booleans())
def test_whatever_a_client_sends_is_its_own_mistake(document: Any, tail: bytes, binary: bool) -> None:
    def count(requests: List[Request], context: Any) -> List[Union[Answer, RequestError]]:
        blocks = [request.inputs[0][1] for request in requests]
        return [
            Answer({"predict": [0] * (len(b.values) if isinstance(b.values, list) or b.values.ndim else 1)})
            for b in blocks
        ]

    odd = sent_binary(document, [tail]) if binary else sent_json(document)
    got, neighbour = ask(WireEnvelope(count), [odd, sent_json({"instances": ["a"]})])
    assert got.status == 400 if binary and not isinstance(document, dict) else got.status in (200, 400)
    assert neighbour.json() == {"predictions": [0]}


@given(st.binary(max_size=60), st.sampled_from(["", "application/json", "image/png", "text/plain"]))
def test_any_bytes_get_an_answer(body: bytes, content_type: str) -> None:
    def count(requests: List[Request], context: Any) -> List[Union[Answer, RequestError]]:
        return [Answer({"predict": [0]}) for _ in requests]

    (got,) = ask(WireEnvelope(count), [Sent({"body": bytearray(body)}, {"body": {"content-type": content_type}})])
    assert got.status in (200, 400)


def test_requests_of_both_verbs_share_one_call() -> None:
    calls: List[List[bool]] = []

    def record(requests: List[Request], context: Any) -> List[Union[Answer, RequestError]]:
        calls.append([request.explain for request in requests])
        return echo(requests, context)

    sent = [sent_json({"instances": ["a"]}, explain) for explain in (True, False, True)]
    got = ask(WireEnvelope(record), [sent[0], BROKEN[0], *sent[1:]])
    assert calls == [[True, False, True]]
    assert [one.status for one in got] == [200, 400, 200, 200]


def test_a_batch_without_a_lawful_request_never_reaches_the_model() -> None:
    def fail(requests: List[Request], context: Any) -> List[Union[Answer, RequestError]]:
        raise AssertionError

    assert [got.status for got in ask(WireEnvelope(fail), BROKEN[:3])] == [400, 400, 400]
    assert ask(WireEnvelope(fail), []) == []


def test_zero_and_empty_are_data() -> None:
    values: List[Any] = []

    def keep(requests: List[Request], context: Any) -> List[Union[Answer, RequestError]]:
        values.extend(request.inputs[0][1].values[0] for request in requests)
        return [Answer({"predict": [len(values)]}) for _ in requests]

    parsed: List[Any] = [0, False, []]
    sent = [Sent({"body": value}, JSON_HEADERS) for value in parsed]
    got = ask(WireEnvelope(keep), [sent[0], Sent({"data": bytearray()}, {}), *sent[1:]])
    assert [one.status for one in got] == [200] * 4
    assert values == [0, b"", False, []]


def test_a_forms_other_fields_are_the_requests_parameters() -> None:
    form = Sent({"target": bytearray(b"3"), "method": bytearray(b"saliency"), "data": bytearray(b"\x89PNG")}, {})
    seen: List[Request] = []

    def keep(requests: List[Request], context: Any) -> List[Union[Answer, RequestError]]:
        seen.extend(requests)
        return [Answer({"a": [1], "b": np.ones((1, 2))}) for _ in requests]

    (got,) = ask(WireEnvelope(keep), [form])
    block = seen[0].inputs[0][1]
    assert (block.values, block.row_parameters) == ([b"\x89PNG"], [])
    assert seen[0].parameters == {"target": 3, "method": "saliency"}
    assert got.json() == {"a": 1, "b": [1.0, 1.0]}


@pytest.mark.parametrize(
    ("value", "content_type", "body"),
    [
        (2, "application/json", b"2"),
        ("two", "text/plain; charset=utf-8", b"two"),
        (b"\xff", "application/octet-stream", b"\xff"),
        ({"two": 0.5}, "application/json", b'{"two":0.5}'),
    ],
)
def test_raw_answers_are_bare(value: Any, content_type: str, body: bytes) -> None:
    envelope = WireEnvelope(lambda requests, context: [Answer({"predict": [value]}) for _ in requests])
    (got,) = ask(envelope, [Sent({"body": bytearray(b"\x89PNG")}, {})])
    assert (got.status, got.headers, got.body) == (200, {"content-type": content_type}, body)


def test_binary_answers_say_where_their_json_ends() -> None:
    array = np.arange(6, dtype="<f4").reshape(1, 2, 3)
    document = {
        "inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["a"]}],
        "parameters": {"binary_data_output": True},
    }
    (got,) = ask(WireEnvelope(lambda requests, context: [Answer({"predict": array})]), [sent_json(document)])
    length = int(got.headers["Inference-Header-Content-Length"])
    assert got.headers["content-type"] == "application/octet-stream"
    assert json.loads(got.body[:length])["outputs"] == [
        {"name": "predict", "shape": [1, 2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}}
    ]
    assert got.body[length:] == array.tobytes()


@pytest.mark.parametrize("status", [400, 413, 422, 429, 500, 503, 507, 599])
def test_errors_keep_their_status(status: int) -> None:
    error = RequestError(status, "why", {3: "text"})
    (got,) = ask(WireEnvelope(lambda requests, context: [error]), [sent_json({"instances": ["a"]})])
    assert (got.status, got.json()) == (status, {"error": "why", "rows": {"3": "text"}})
    assert got.phrase
    assert got.phrase.isascii()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (ZeroDivisionError("secret"), 500),
        (MemoryError(), 507),
        (RequestError(503, "wait"), 503),
        ([], 500),
        ([Answer({"predict": [1, 2, 3]}), Answer({"predict": [1]})], 500),
        ([Answer({"predict": [object()]}), Answer({"predict": [1]})], 500),
        ([None, Answer({"predict": [1]})], 500),
    ],
)
def test_the_models_bugs_stay_inside(answer: Any, status: int, caplog: pytest.LogCaptureFixture) -> None:
    def fail(requests: List[Request], context: Any) -> List[Union[Answer, RequestError]]:
        if isinstance(answer, Exception):
            raise answer
        result: List[Union[Answer, RequestError]] = answer
        return result

    with caplog.at_level(logging.ERROR):
        got = ask(WireEnvelope(fail), [sent_json({"instances": ["a"]}), BROKEN[0], sent_json({"instances": ["b"]})])
    whole = isinstance(answer, Exception) or not answer
    assert [one.status for one in got] == [status, 400, status if whole else 200]
    assert "secret" not in got[0].json()["error"]
    logged = [record for record in caplog.records if record.exc_info]
    assert bool(logged) == (not isinstance(answer, RequestError))


def test_a_batch_that_fails_is_tried_one_by_one() -> None:
    calls: List[int] = []

    def fragile(requests: List[Request], context: Any) -> List[Union[Answer, RequestError]]:
        calls.append(len(requests))
        if any(request.inputs[0][1].values == ["poison"] for request in requests):
            raise IndexError("index out of range")
        return [Answer({"predict": request.inputs[0][1].values}) for request in requests]

    rows = ["a", "poison", "b", "poison"]
    got = ask(WireEnvelope(fragile), [sent_json({"instances": [row]}) for row in rows])
    assert [one.status for one in got] == [200, 500, 200, 500]
    assert [got[idx].json() for idx in (0, 2)] == [{"predictions": ["a"]}, {"predictions": ["b"]}]
    assert calls == [4, 1, 1, 1, 1]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_the_end_of_the_process_passes(error: Any) -> None:
    def leave(requests: List[Request], context: Any) -> List[Union[Answer, RequestError]]:
        raise error

    with pytest.raises(error):
        WireEnvelope(leave).handle([{"body": {"instances": ["a"]}}], make_context([JSON_HEADERS]))
