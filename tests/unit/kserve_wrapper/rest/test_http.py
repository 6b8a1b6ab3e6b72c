"""What holds for every route: methods, paths, limits, errors, ids, metrics."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import zlib
from typing import Optional

import pytest

from kserve_wrapper.core import errors
from kserve_wrapper.core.calls import V1Call
from kserve_wrapper.core.errors import WrapperError
from kserve_wrapper.core.headers import trace_of
from kserve_wrapper.httpd.encoding import inflate
from kserve_wrapper.httpd.messages import Headers, Request, joined
from kserve_wrapper.rest.inference import LARGE
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


@pytest.mark.parametrize("path", [PREDICT, "/v2/models/mnist/versions/1.0/infer"])
def test_a_request_that_has_no_room_is_refused_before_it_is_read(path: str) -> None:
    front = Front()
    front.submitter.full = errors.QueueFull("full", retry_after=1)
    answer = front.call("POST", path, b"not even JSON", {"content-length": "1000000"})
    assert (answer.status, answer.json, answer.headers["retry-after"]) == (503, {"error": "full"}, "1")
    assert front.submitter.checked == [("mnist", "1.0" if "1.0" in path else None, 1000000)]
    assert front.submitter.calls == []


def test_a_large_request_that_came_in_chunks_is_refused_before_it_is_parsed() -> None:
    front = Front()
    front.submitter.full = errors.QueueFull("full", retry_after=1)
    answer = front.call("POST", PREDICT, b"x" * (LARGE + 1), {"content-length": "0"})
    assert (answer.status, answer.json) == (503, {"error": "full"})
    assert front.submitter.checked == [("mnist", None, LARGE + 1)]


def test_a_small_request_is_not_asked_about() -> None:
    front = Front()
    assert front.call("POST", PREDICT, {"instances": [1]}).status == 200
    assert front.submitter.checked == []


def test_a_model_that_is_not_ready_is_told_before_a_large_request_is_read() -> None:
    front, large = Front(), {"content-length": "1000000"}
    assert front.call("POST", "/v1/models/loading:predict", b"not even JSON", large).status == 503
    assert front.call("POST", "/v1/models/nobody:predict", b"not even JSON", large).status == 404
    assert front.submitter.checked == []


def test_what_never_became_a_request_is_counted() -> None:
    front = Front()
    assert front.app.refuse(errors.InvalidRequest("no HTTP")).status == 400
    assert front.seen == [("none", 400)]


def test_compressed_bodies_are_read() -> None:
    front = Front()
    for coding, body in (("gzip", gzip.compress(BODY)), ("deflate", zlib.compress(BODY)), ("identity", BODY)):
        answer = front.call("POST", PREDICT, body, {"content-encoding": coding})
        assert (answer.status, answer.json) == (200, {"predictions": [1]})
    assert front.call("POST", PREDICT, BODY, {"content-encoding": "gzip"}).status == 400
    assert front.call("POST", PREDICT, BODY, {"content-encoding": "br"}).status == 415


def test_a_second_content_encoding_is_seen() -> None:
    async def main() -> None:
        front = Front()
        for encodings in ([b"gzip", b"identity"], [b"identity", b"gzip"], [b"", b"gzip"]):
            channel = FakeChannel(BODY)
            headers: Headers = [(b"content-encoding", encoding) for encoding in encodings]
            await front.app(Request(channel, "POST", PREDICT.encode(), joined(headers)))
            assert channel.answered is not None
            assert channel.answered.status == 415

    asyncio.run(main())


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
        channel = Choosy(BODY)
        await front.app(Request(channel, "POST", PREDICT.encode(), {}))
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


@pytest.mark.parametrize(("accept", "coding"), [("gzip, deflate", "gzip"), ("deflate", "deflate"), ("br", None)])
def test_large_answers_are_compressed_for_who_accepts_it(accept: str, coding: Optional[str]) -> None:
    front = Front(compress_from=100)
    rows = {"instances": ["x" * 500]}
    answer = front.call("POST", PREDICT, rows, {"accept-encoding": accept})
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["vary"] == "accept-encoding"
    plain = inflate(answer.body, coding.encode(), 0) if coding else answer.body
    assert json.loads(plain) == {"predictions": ["x" * 500]}
    small = front.call("POST", PREDICT, {"instances": [1]}, {"accept-encoding": accept})
    assert (small.json, small.headers.get("content-encoding")) == ({"predictions": [1]}, None)
    unasked = Front().call("POST", PREDICT, rows, {"accept-encoding": accept})
    assert (unasked.json, unasked.headers.get("vary")) == ({"predictions": ["x" * 500]}, None)
