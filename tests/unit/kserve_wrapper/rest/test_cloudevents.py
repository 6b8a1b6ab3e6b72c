"""CloudEvents in and out, read by the SDK's own parser."""

from __future__ import annotations

import json
from typing import Any, Dict, Tuple

import pytest

from tests.unit.kserve_wrapper.fakes import Answer, Front

sdk = pytest.importorskip("cloudevents.http", reason="the CloudEvents SDK is not installed")
conversion = pytest.importorskip("cloudevents.conversion", reason="the CloudEvents SDK is older than 1.6")
SENT = {"type": "test.request", "source": "here", "id": "1"}
V1 = ("/v1/models/mnist:predict", {"instances": [1, 2]}, {"predictions": [1, 2]})
EXPLAIN = ("/v1/models/mnist:explain", {"instances": [1]}, {"explanations": [1]})
TENSOR = {"name": "x", "shape": [1], "datatype": "INT64", "data": [7]}
V2 = ("/v2/models/mnist/infer", {"inputs": [TENSOR]}, {"model_name": "mnist", "outputs": [TENSOR]})


def sent(path: str, headers: Any, body: Any) -> Tuple[Any, Answer]:
    """The answer as an event, and as it is."""
    answer = Front().call("POST", path, bytes(body), dict(headers))
    assert answer.status == 200, answer.body
    return sdk.from_http(answer.headers, answer.body), answer


@pytest.mark.parametrize("convert", [conversion.to_binary, conversion.to_structured])
@pytest.mark.parametrize(("path", "data", "wanted"), [V1, EXPLAIN, V2])
def test_an_event_is_answered_by_an_event_of_its_form(convert: Any, path: str, data: Any, wanted: Any) -> None:
    headers, body = convert(sdk.CloudEvent({**SENT, "datacontenttype": "application/json"}, data))
    event, answer = sent(path, headers, body)
    assert event.data == wanted
    assert (event["type"], event["source"]) == ("io.kserve.inference.response", "io.kserve.inference.mnist")
    assert event["id"] not in ("", "1")
    structured = answer.headers["content-type"] == "application/cloudevents+json"
    assert structured == (convert is conversion.to_structured)
    assert event["time"]


def test_binary_tensors_within_a_binary_event() -> None:
    tensor = {**TENSOR, "parameters": {"binary_data_size": 8}}
    del tensor["data"]
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"ce-" + name: value for name, value in {**SENT, "specversion": "1.0"}.items()}
    headers["inference-header-content-length"] = str(len(head))
    answer = Front().call("POST", V2[0], head + bytes(8), headers)
    assert answer.headers["ce-type"] == "io.kserve.inference.response"
    assert answer.body.endswith(bytes(8))
    assert int(answer.headers["inference-header-content-length"]) == len(answer.body) - 8


def test_base64_data() -> None:
    event = {"specversion": "1.0", **SENT, "data_base64": "eyJpbnN0YW5jZXMiOiBbMV19"}
    headers = {"content-type": "Application/CloudEvents+JSON; charset=utf-8"}
    assert sent(V1[0], headers, json.dumps(event).encode())[0].data == {"predictions": [1]}


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        ({"ce-specversion": "1.0"}, b"{}", "has no id"),
        ({"ce-specversion": "7", "ce-id": "1", "ce-source": "a", "ce-type": "b"}, b"{}", "specversion"),
        ({"content-type": "application/cloudevents+json"}, b"[", "not JSON"),
        ({"content-type": "application/cloudevents+json"}, b"[]", "JSON object"),
        (
            {"content-type": "application/cloudevents+json"},
            json.dumps({"specversion": "1.0", **SENT}).encode(),
            "no data",
        ),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]", "one event"),
    ],
)
def test_what_is_no_event_is_told(headers: Dict[str, str], body: bytes, text: str) -> None:
    answer = Front().call("POST", V1[0], body, headers)
    assert answer.status == 400
    assert text in answer.json["error"]


def test_a_request_that_is_no_event_is_answered_plainly() -> None:
    answer = Front().call("POST", V1[0], V1[1], {"content-type": "application/json"})
    assert not [name for name in answer.headers if name.startswith("ce-")]
    assert answer.json == V1[2]
