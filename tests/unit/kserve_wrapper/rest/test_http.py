"""What holds for every route: methods, paths, limits, errors, ids, metrics."""

from __future__ import annotations

import asyncio
import logging
from typing import Optional

import pytest

from kserve_wrapper.core import errors
from kserve_wrapper.core.calls import V1Call
from kserve_wrapper.core.errors import WrapperError
from kserve_wrapper.core.headers import trace_of
from kserve_wrapper.httpd.messages import Headers, Request
from tests.unit.kserve_wrapper.fakes import FakeChannel, Front

PREDICT = "/v1/models/mnist:predict"
BODY = b'{"instances":[1]}'


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", PREDICT, "POST"),
        ("PUT", "/v2/models/mnist/infer", "POST"),
        ("POST", "/v1/models/mnist", "GET, HEAD"),
        ("DELETE", "/v2/health/live", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("GET", "/v2/repository/index", "POST"),
    ],
)
def test_a_wrong_method_hears_the_right_ones(method: str, path: str, allow: str) -> None:
    answer = Front().call(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allow)
    assert list(answer.json) == ["error"]


@pytest.mark.parametrize("path", ["/", "/v1/models", "/v1/models/mnist", "/v2", "/v2/health/ready", "/v2/models/mnist"])
def test_head_is_get_without_a_body(path: str) -> None:
    front = Front()
    whole, head = front.call("GET", path), front.call("HEAD", path)
    assert (head.status, head.body) == (whole.status, b"")
    assert head.headers["content-length"] == str(len(whole.body))


@pytest.mark.parametrize(
    "path", ["/nope", "/v1", "/v1/models/", "/v2/models/", "//v2", "/v2/models/mnist/nope", "/docs", "/openapi.json"]
)
def test_an_unknown_path(path: str) -> None:
    answer = Front().call("GET", path)
    assert answer.status == 404
    assert list(answer.json) == ["error"]


@pytest.mark.parametrize(
    "name",
    ["a%2Fb", "%2e%2e", "..", "%2E", "a%0d%0ab", "a%00", "%5c", "%zz", "%", "%ff", "a%2f..%2fb", "mnist%2Fversions"],
)
@pytest.mark.parametrize("template", ["/v1/models/{}", "/v2/models/{}/ready", "/v2/models/mnist/versions/{}/ready"])
def test_a_name_cannot_leave_its_segment(template: str, name: str) -> None:
    answer = Front().call("GET", template.format(name))
    assert answer.status in (400, 404)
    assert list(answer.json) == ["error"]


def test_an_encoded_name_is_decoded_once() -> None:
    front = Front()
    assert front.call("GET", "/v1/models/m%6Eist").status == 200
    assert front.call("GET", "/v1/models/m%256Eist").status == 404
    assert front.call("POST", "/v1/models/mnist%3Apredict", {"instances": [1]}).status == 200


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_body_beyond_the_limit(pieces: int) -> None:
    front = Front(max_body=64)
    assert front.call("POST", PREDICT, {"instances": [1]}, pieces=pieces).status == 200
    answer = front.call("POST", PREDICT, {"instances": ["x" * 200]}, pieces=pieces)
    assert answer.status == 413
    assert "64" in answer.json["error"]


def test_a_body_that_announces_too_much_is_not_read() -> None:
    answer = Front(max_body=64).call("POST", PREDICT, b"{}", {"content-length": "1000000", "expect": "100-continue"})
    assert answer.status == 413


def test_a_compressed_body_is_refused() -> None:
    front = Front()
    assert front.call("POST", PREDICT, {"instances": [1]}, {"content-encoding": "gzip"}).status == 415
    assert front.call("POST", PREDICT, {"instances": [1]}, {"content-encoding": "identity"}).status == 200


def test_too_many_rows() -> None:
    front = Front(max_rows=2)
    assert front.call("POST", PREDICT, {"instances": [1, 2]}).status == 200
    assert front.call("POST", PREDICT, {"instances": [1, 2, 3]}).status == 413
    tensor = {"name": "i", "datatype": "INT8", "shape": [3, 1], "data": [1, 2, 3]}
    assert front.call("POST", "/v2/models/mnist/infer", {"inputs": [tensor]}).status == 413


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (errors.InvalidRequest("bad row"), 400, None),
        (errors.NotFound("gone"), 404, None),
        (errors.TooLarge("big"), 413, None),
        (errors.BadGateway("what"), 502, None),
        (errors.QueueFull("full", retry_after=0.2), 503, "1"),
        (errors.Unavailable("down", retry_after=2.5), 503, "3"),
        (errors.DeadlineExceeded("late"), 504, None),
        (errors.OutOfResources("memory"), 507, None),
    ],
)
def test_an_error_has_its_status_and_text(error: WrapperError, status: int, retry: Optional[str]) -> None:
    front = Front()
    front.submitter.error = error
    answer = front.call("POST", PREDICT, {"instances": [1]})
    assert (answer.status, answer.json) == (status, {"error": error.message})
    assert answer.headers.get("retry-after") == retry


def test_a_fault_of_ours_tells_nothing_of_the_inside(caplog: pytest.LogCaptureFixture) -> None:
    front = Front()
    front.submitter.error = KeyError("/secret/path")
    with caplog.at_level(logging.ERROR):
        answer = front.call("POST", PREDICT, {"instances": [1]}, {"x-request-id": "r-1"})
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert b"KeyError" not in answer.body
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert "r-1" in caplog.text


def test_an_answer_that_cannot_be_written_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    class Choosy(FakeChannel):
        def answer(self, status: int, headers: Headers, body: bytes) -> None:
            if status == 200:
                raise ValueError("what a header may not hold")
            super().answer(status, headers, body)

    async def main() -> None:
        front = Front()
        channel = Choosy([BODY])
        await front.app(Request(channel, "POST", PREDICT.encode(), []))
        assert channel.answered is not None
        assert channel.answered.status == 500
        assert front.seen == [("/v1/models/{model}:predict", 500)]

    asyncio.run(main())
    assert "what a header may not hold" in caplog.text


def test_a_clients_mistake_is_no_event_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert Front().call("GET", "/v1/models/nobody").status == 404
    assert not caplog.records


def test_a_request_id_comes_back() -> None:
    front = Front()
    assert front.call("GET", "/", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    made = {front.call("GET", "/").headers["x-request-id"] for _ in range(10)}
    assert len(made) == 10


@pytest.mark.parametrize("given", ["a b", "x" * 200, 'a"b', "é", "a\tb", ""])
def test_a_strange_request_id_is_replaced(given: str) -> None:
    answer = Front().call("GET", "/nope", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 32


def test_trace_headers_travel_and_made_up_ids_do_not() -> None:
    front = Front()
    trace = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "tracestate": "k=v", "x-request-id": "me"}
    front.call("POST", PREDICT, {"instances": [1]}, {**trace, "authorization": "secret"})
    front.call("POST", PREDICT, {"instances": [1]})
    calls = [call for call in front.submitter.calls if isinstance(call, V1Call)]
    assert [trace_of(call.headers) for call in calls] == [trace, {}]


def test_requests_are_counted_by_template() -> None:
    front = Front()
    front.call("GET", "/v1/models/mnist")
    front.call("GET", "/v1/models/nobody")
    front.call("GET", "/what/ever")
    assert front.seen == [("/v1/models/{model}", 200), ("/v1/models/{model}", 404), ("none", 404)]


def test_draining_refuses_what_is_new() -> None:
    import asyncio

    front = Front()
    assert asyncio.run(front.plane.drain(1))
    assert front.call("POST", PREDICT, {"instances": [1]}).status == 503
    assert front.call("GET", "/v2/health/ready").status == 503
    assert front.call("GET", "/v1/models/mnist").status == 503
    assert front.call("GET", "/v2/health/live").status == 200
