"""V1 over HTTP, line by line."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from kserve_wrapper.core.calls import V1Call, V1Reply
from tests.unit.kserve_wrapper.fakes import Front


def test_models_are_listed() -> None:
    answer = Front().call("GET", "/v1/models")
    assert (answer.status, answer.json) == (200, {"models": ["loading", "mnist"]})


@pytest.mark.parametrize(
    ("model", "status", "said"),
    [("mnist", 200, {"ready": True}), ("loading", 503, {"ready": False, "reason": "its worker is loading"})],
)
def test_a_model_says_whether_it_is_ready_and_why_not(model: str, status: int, said: Dict[str, Any]) -> None:
    answer = Front().call("GET", f"/v1/models/{model}")
    assert (answer.status, answer.json) == (status, {"name": model, **said})


def test_an_unknown_model_is_not_found() -> None:
    answer = Front().call("GET", "/v1/models/nobody")
    assert answer.status == 404
    assert list(answer.json) == ["error"]


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_predictions_come_in_order(key: str) -> None:
    answer = Front().call("POST", "/v1/models/mnist:predict", {key: [3, 1, 2]})
    assert (answer.status, answer.body) == (200, b'{"predictions":[3,1,2]}')


def test_explanations_keep_their_shape() -> None:
    front = Front()
    front.submitter.reply = V1Reply([[[[0.5, -0.25]]]])
    answer = front.call("POST", "/v1/models/mnist:explain", {"instances": [{"data": "x", "target": 2}]})
    assert (answer.status, answer.body) == (200, b'{"explanations":[[[[0.5,-0.25]]]]}')
    call = front.submitter.calls[0]
    assert isinstance(call, V1Call)
    assert call.explain
    assert call.instances == [{"data": "x", "target": 2}]


def test_what_stands_beside_the_instances_travels_along() -> None:
    front = Front()
    front.call("POST", "/v1/models/mnist:predict", {"instances": [1], "signature_name": "s", "parameters": {"a": 1}})
    call = front.submitter.calls[0]
    assert isinstance(call, V1Call)
    assert call.extra == {"signature_name": "s", "parameters": {"a": 1}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        {},
        {"instances": 1},
        {"instances": []},
        {"instances": [1], "inputs": [1]},
        b'{"instances":[NaN]}',
        b'{"instances":[Infinity]}',
        b'{"instances":["\xff"]}',
    ],
)
def test_a_wrong_body_is_the_clients_fault(body: Any) -> None:
    front = Front()
    answer = front.call("POST", "/v1/models/mnist:predict", body)
    assert answer.status == 400
    assert list(answer.json) == ["error"]
    assert not front.submitter.calls


def test_a_result_that_json_cannot_hold_is_null() -> None:
    front = Front()
    front.submitter.reply = V1Reply([float("nan"), 1.5])
    assert front.call("POST", "/v1/models/mnist:predict", {"instances": [1, 2]}).body == b'{"predictions":[null,1.5]}'


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "application/json; charset=utf-8", "text/plain", "APPLICATION/JSON", ""],
)
def test_the_content_type_does_not_matter(content_type: str) -> None:
    answer = Front().call("POST", "/v1/models/mnist:predict", {"instances": [2]}, {"content-type": content_type})
    assert (answer.status, answer.json) == (200, {"predictions": [2]})


def test_a_model_that_is_not_ready_asks_to_try_again() -> None:
    answer = Front().call("POST", "/v1/models/loading:predict", {"instances": [2]})
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    ("segment", "said"),
    [
        ("mnist:train", "no verb 'train'; predict or explain"),
        ("mnist:", "no verb ''; predict or explain"),
        (":predict", "no model name before the colon"),
        (":", "no model name before the colon"),
    ],
)
def test_an_unknown_verb_or_no_name_is_no_route(method: str, segment: str, said: str) -> None:
    answer = Front().call(method, f"/v1/models/{segment}", {"instances": [1]})
    assert answer.status == 404
    assert said in answer.json["error"]
