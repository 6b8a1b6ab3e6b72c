"""Handlers that do not speak wire get flat rows in TorchServe's own forms, and each client its own results."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Type

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ts.utils.util import PredictionException

from mnist_handler.envelopes.datatypes import join_elements
from mnist_handler.envelopes.front_door import BatchEnvelope
from tests.unit.mnist_handler.envelopes.wire_worker import SENT_FORMS, Sent, ask, sent_binary, sent_json


class BodyEnvelope(BatchEnvelope):
    bare_raw = True


class JSONEnvelope(BatchEnvelope):
    decodes_base64 = True


def text_of(row: Any) -> str:
    """What a row says, in whichever of the stock forms it comes."""
    if isinstance(row, dict):
        row = row["data"] if "data" in row else row["body"]
    return row.decode() if isinstance(row, (bytes, bytearray)) else str(row)


def echo(rows: List[Any], context: Any) -> List[str]:
    """Answers as stock handlers do: the verb is request 0's, and one bad row fails the whole call."""
    verb = "explain" if context.get_request_header(0, "explain") == "True" else "predict"
    for idx, row in enumerate(rows):
        if text_of(row) == "bad":
            raise ValueError("a bad row")
        assert (context.get_request_header(idx, "explain") == "True") == (verb == "explain")
    return [f"{verb} {text_of(row)}" for row in rows]


class Case(NamedTuple):
    sent: Sent
    status: int
    expected: Any


ROWS = st.lists(st.sampled_from(["a", "b", "c", "bad"]), min_size=1, max_size=3)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rows, explain, form = draw(ROWS), draw(st.booleans()), draw(SENT_FORMS)
    verb, key = ("explain", "explanations") if explain else ("predict", "predictions")
    status = 500 if "bad" in rows else 200
    answers = [f"{verb} {row}" for row in rows]
    kind = draw(st.sampled_from(["v1", "bytes", "binary", "inputs", "raw", "broken"]))
    if kind == "broken":
        return Case(sent_json({"instances": []}, explain, form), 400, None)
    if kind == "raw":
        item = {draw(st.sampled_from(["data", "body"])): bytearray(rows[0].encode())}
        headers = {"explain": str(explain)}
        return Case(Sent(item, headers), 500 if rows[0] == "bad" else 200, answers[0])
    if kind == "v1":
        instances = [{"data": row} for row in rows]
        return Case(sent_json({"instances": instances}, explain, form), status, {key: answers})
    entry: Dict[str, Any] = {"name": "x", "datatype": "BYTES", "shape": [len(rows)]}
    if kind == "inputs":
        entries = [{"name": f"x{i}", "datatype": "BYTES", "shape": [1], "data": [row]} for i, row in enumerate(rows)]
        names = [verb] if len(rows) == 1 else [f"x{i}" for i in range(len(rows))]
        outputs = [output(name, [answer]) for name, answer in zip(names, answers)]
        return Case(sent_json({"inputs": entries, "id": "1"}, explain, form), status, reply(outputs))
    if kind == "binary":
        blob = join_elements([row.encode() for row in rows])
        entry["parameters"] = {"binary_data_size": len(blob)}
        sent = sent_binary({"inputs": [entry], "id": "1"}, [blob], explain)
    else:
        sent = sent_json({"inputs": [{**entry, "data": rows}], "id": "1"}, explain, form)
    return Case(sent, status, reply([output(verb, answers)]))


def output(name: str, data: List[str]) -> Dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": "BYTES", "data": data}


def reply(outputs: List[Any]) -> Dict[str, Any]:
    return {"id": "1", "model_name": "registered", "model_version": "1.0", "outputs": outputs}


@given(st.lists(cases(), max_size=6), st.sampled_from([BatchEnvelope, BodyEnvelope, JSONEnvelope]))
def test_every_client_gets_its_own_rows(batch: List[Case], envelope: Type[BatchEnvelope]) -> None:
    for case, got in zip(batch, ask(envelope(echo), [case.sent for case in batch])):
        assert got.status == case.status
        if case.status != 200:
            assert got.json()["error"]
        elif isinstance(case.expected, str):
            assert got.body.decode() == case.expected
        else:
            assert got.json() == case.expected


def rows_seen(envelope: Type[BatchEnvelope], *sent: Sent) -> List[Any]:
    seen: List[Any] = []

    def keep(rows: List[Any], context: Any) -> List[int]:
        seen.extend(rows)
        return [0] * len(rows)

    assert all(got.status == 200 for got in ask(envelope(keep), sent))
    return seen


def test_rows_have_torchserves_own_forms() -> None:
    v1 = sent_json({"instances": [{"data": "eA==", "target": 1}, "a", 3]})
    assert rows_seen(BatchEnvelope, v1) == [{"data": "eA==", "target": 1}, "a", 3]
    tensor = {"name": "t", "shape": [1, 2], "datatype": "FP32"}
    text = {"name": "s", "shape": [2], "datatype": "BYTES", "data": ["eA==", "eQ=="]}
    rows = [
        {"name": "t", "shape": [1, 2], "datatype": "FP32", "data": [[0.5, 1.0]]},
        {"name": "s", "shape": [1], "datatype": "BYTES", "data": "eA=="},
        {"name": "s", "shape": [1], "datatype": "BYTES", "data": "eQ=="},
    ]
    assert rows_seen(BatchEnvelope, sent_json({"inputs": [{**tensor, "data": [0.5, 1]}, text]})) == rows
    binary = {**tensor, "parameters": {"binary_data_size": 8}}
    blob = np.array([0.5, 1], "<f4").tobytes()
    assert rows_seen(BatchEnvelope, sent_binary({"inputs": [binary, text]}, [blob])) == rows


@pytest.mark.parametrize(
    ("envelope", "row"), [(BatchEnvelope, {"body": bytearray(b"x")}), (BodyEnvelope, b"x"), (JSONEnvelope, None)]
)
def test_raw_rows_are_as_the_replaced_envelope_has_them(envelope: Type[BatchEnvelope], row: Any) -> None:
    assert rows_seen(envelope, Sent({"body": bytearray(b"x")}, {})) == [row or {"body": bytearray(b"x")}]


def test_base64_is_decoded_where_the_replaced_envelope_does() -> None:
    sent = sent_json({"instances": [{"b64": "eA=="}]})
    assert rows_seen(BatchEnvelope, sent) == [{"b64": "eA=="}]
    assert rows_seen(JSONEnvelope, sent) == [b"x"]
    (got,) = ask(JSONEnvelope(echo), [sent_json({"instances": ["a", {"b64": "%"}]})])
    assert (got.status, list(got.json()["rows"])) == (400, ["1"])


@pytest.mark.parametrize(
    ("result", "entry"),
    [
        ([[0.5, 1.0]], {"datatype": "FP64", "shape": [1, 1, 2], "data": [0.5, 1.0]}),
        (2, {"datatype": "INT64", "shape": [1], "data": [2]}),
        ({"two": 1.0}, {"datatype": "BYTES", "shape": [1], "data": ['{"two":1.0}']}),
    ],
)
def test_results_of_any_kind_have_a_datatype(result: Any, entry: Dict[str, Any]) -> None:
    sent = sent_json({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [-1], "data": ["a"]}]})
    (got,) = ask(BatchEnvelope(lambda rows, context: [result]), [sent])
    assert got.json()["outputs"] == [{"name": "predict", **entry}]


def test_tensors_among_the_results_are_written_as_lists() -> None:
    torch = pytest.importorskip("torch", reason="needs torch's tensors")
    results = [torch.ones(2), np.float32(0.5)]
    (got,) = ask(BatchEnvelope(lambda rows, context: results), [sent_json({"instances": ["a", "b"]})])
    assert got.json() == {"predictions": [[1.0, 1.0], 0.5]}


def wrong_count(rows: List[Any], context: Any) -> Any:
    return [0] * (len(rows) + 1)


def no_list(rows: List[Any], context: Any) -> Any:
    return {"predictions": [0]}


def refuse(rows: List[Any], context: Any) -> Any:
    raise PredictionException("no such class", 422)


@pytest.mark.parametrize(
    ("handle", "status", "text"),
    [(wrong_count, 500, "log"), (no_list, 500, "log"), (refuse, 422, "no such class")],
)
def test_a_failing_handler_fails_each_client(handle: Callable[..., Any], status: int, text: str) -> None:
    got = ask(BatchEnvelope(handle), [sent_json({"instances": ["a"]}), sent_json({"instances": []})])
    assert [one.status for one in got] == [status, 400]
    assert text in got[0].json()["error"]


def test_statuses_and_ids_belong_to_the_rows_client() -> None:
    ids: List[Any] = []

    def answer(rows: List[Any], context: Any) -> List[int]:
        ids.extend(context.get_request_id(idx) for idx in range(len(rows)))
        context.set_response_header(2, "x-row", "2")
        return [0] * len(rows)

    sent = [sent_json({"instances": rows}) for rows in (["a", "b"], [], ["c"])]
    got = ask(BatchEnvelope(answer), sent)
    assert ids == ["torchserve-0", "torchserve-0", "torchserve-2"]
    assert ["x-row" in one.headers for one in got] == [False, False, True]


class Speaker:
    handles_raw_requests = True

    def handle(self, data: Any, context: Any) -> Any:
        return [data, context]


def test_a_handler_that_speaks_wire_gets_the_batch_untouched() -> None:
    data, context = [{"body": 1}], object()
    returned = BatchEnvelope(Speaker().handle).handle(data, context)
    assert returned[0] is data
    assert returned[1] is context


@pytest.mark.parametrize("count", [1, 2])
def test_only_torchserve_itself_asks_for_the_description(count: int) -> None:
    forged = Sent(sent_json({"instances": ["a"]}).item, {"describe": "True"})
    assert [got.json() for got in ask(BatchEnvelope(echo), [forged] * count)] == [
        {"predictions": ["predict a"]}
    ] * count
    (got,) = ask(BatchEnvelope(lambda rows, context: [b"described"]), [Sent({}, {"describe": "True"})])
    assert got.body == b"described"
