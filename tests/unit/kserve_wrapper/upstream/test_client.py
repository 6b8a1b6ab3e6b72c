"""The client against a real server: good answers, bad answers, broken connections."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Coroutine, Dict, List, Mapping, Optional, Tuple, Type

import orjson
import pytest

from kserve_wrapper.core.calls import ModelMetadata, Reply, V1Call, V1Reply, V2Call
from kserve_wrapper.core.errors import (
    BadGateway,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NotFound,
    TooLarge,
    Unavailable,
    WrapperError,
)
from kserve_wrapper.upstream import client
from kserve_wrapper.upstream import connection as connection_module
from kserve_wrapper.upstream.address import parse
from kserve_wrapper.upstream.client import NO_HEADERS, Upstream
from kserve_wrapper.upstream.connection import HEADER_LIMIT, Interrupted
from kserve_wrapper.upstream.errors import Busy, NotReached, Refused
from tests.unit.kserve_wrapper.upstream.http_server import (
    Answer,
    HttpServer,
    Received,
    predictions,
    reset,
    response,
    silence,
    write,
)

STOCK = ModelMetadata("m", ["1"])
CALL = V1Call("m", None, False, [1])


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


async def send(
    upstream: Upstream, call: V1Call = CALL, seconds: float = 30, headers: Mapping[str, str] = NO_HEADERS
) -> Reply:
    return await upstream.send(call, STOCK, time.monotonic() + seconds, headers)


def one(answer: Answer, **options: Any) -> Reply:
    """The reply to one request."""
    replies: List[Reply] = []

    async def main() -> None:
        async with HttpServer([answer]) as server:
            upstream = server.upstream(**options)
            try:
                replies.append(await send(upstream))
            finally:
                await upstream.aclose()

    run(main())
    return replies[0]


def test_request_as_torchserve_gets_it() -> None:
    async def main() -> None:
        async with HttpServer([predictions(7)]) as server:
            upstream = server.upstream(authorize=lambda: "Bearer key")
            assert await send(upstream, headers={"traceparent": "00-a-b-01", "authorization": "a client's"}) == V1Reply(
                [7]
            )
            received = server.received[0]
            assert received.path == "POST /v1/models/m:predict HTTP/1.1"
            assert received.body == b'{"instances":[1]}'
            assert received.headers == {
                "host": server.url[len("http://") :],
                "content-type": "application/json",
                "content-length": "17",
                "authorization": "Bearer key",
                "traceparent": "00-a-b-01",
            }
            await upstream.aclose()

    run(main())


def test_connection_is_kept_and_used_again() -> None:
    async def main() -> None:
        async with HttpServer([predictions(1)]) as server:
            upstream = server.upstream()
            for _ in range(5):
                await send(upstream)
            assert server.connections == 1
            await asyncio.gather(*[send(upstream) for _ in range(4)])
            await asyncio.gather(*[send(upstream) for _ in range(4)])
            assert server.connections == 4
            await upstream.aclose()

    run(main())


def test_a_kept_connection_takes_the_request_at_once() -> None:
    async def main() -> None:
        async with HttpServer([predictions(1), predictions(2)]) as server:
            upstream = server.upstream()
            await send(upstream)
            reply = upstream.send(CALL, STOCK, time.monotonic() + 30)
            while len(server.received) < 2:
                await asyncio.sleep(0.005)
            assert await reply == V1Reply([2])
            assert server.connections == 1
            await upstream.aclose()

    run(main())


def test_connections_that_close_before_they_are_used_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    async def closed(*given: Any) -> connection_module.Connection:
        connection = await connection_module.dial(*given)
        connection.close()
        return connection

    async def main() -> None:
        async with HttpServer([predictions(1)]) as server:
            upstream = server.upstream(connections=2)
            monkeypatch.setattr(client, "dial", closed)
            for _ in range(4):
                with pytest.raises(Interrupted):
                    await send(upstream)
            monkeypatch.undo()
            assert await send(upstream) == V1Reply([1])
            await upstream.aclose()

    run(main())


BODY = b'{"predictions": ["ab", "cd"]}'
WHOLE = response(BODY)
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"5\r\n" + BODY[:5] + b"\r\n"
    + b"%x\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n0\r\n\r\n"
)  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [
        write(WHOLE),
        write(*[WHOLE[i : i + 1] for i in range(len(WHOLE))]),
        write(CHUNKED),
        write(*[CHUNKED[i : i + 1] for i in range(len(CHUNKED))]),
        write(b"HTTP/1.1 200 OK\r\n\r\n", BODY, close=True),
        write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY), BODY),
        write(b"HTTP/1.0 200 OK\r\n\r\n" + BODY, close=True),
        write(response(BODY, 201)),
        write(b"HTTP/1.1 100 Continue\r\n\r\n", WHOLE),
        write(b"HTTP/1.1 102 Processing\r\nx: y\r\n\r\n" + WHOLE),
    ],
)
def test_forms_of_an_answer(answer: Answer) -> None:
    assert one(answer) == V1Reply(["ab", "cd"])


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (write(b"SSH-2.0-OpenSSH_9.6\r\n"), BadGateway),
        (write(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), BadGateway),
        (write(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * HEADER_LIMIT), BadGateway),
        (write(WHOLE[:-3], close=True), Unavailable),
        (write(CHUNKED[:-3], close=True), Unavailable),
        (write(WHOLE[:20], close=True), Unavailable),
        (reset, Unavailable),
        (write(response(b"")), BadGateway),
        (write(response(b"<html>")), BadGateway),
        (write(response(b'{"outputs": []}')), BadGateway),
        (write(response(b'["predictions"]')), BadGateway),
        (write(response(b"x" * 2000)), TooLarge),
        (
            write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"ff\r\n" + b"x" * 255 + b"\r\n" * 1),
            TooLarge,
        ),
        (write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000), TooLarge),
        (write(response(b"", 413, connection="close")), TooLarge),
        (write(response(b"", 302, location="http://elsewhere/")), BadGateway),
    ],
)
def test_bad_answers_are_errors_of_the_right_kind(answer: Answer, kind: Type[WrapperError]) -> None:
    with pytest.raises(kind) as caught:
        one(answer, response_limit=200)
    assert "127.0.0.1" not in caught.value.message


def test_deadline_ends_a_silent_answer_and_its_connection() -> None:
    async def main() -> None:
        async with HttpServer([silence, predictions(1)]) as server:
            upstream = server.upstream()
            with pytest.raises(DeadlineExceeded):
                await send(upstream, seconds=0.05)
            assert await send(upstream) == V1Reply([1])
            assert [received.connection for received in server.received] == [1, 2]
            await upstream.aclose()

    run(main())


def test_cancelled_request_does_not_leave_its_answer_to_the_next() -> None:
    async def main() -> None:
        started = asyncio.Event()

        async def late(received: Received, writer: asyncio.StreamWriter) -> None:
            started.set()
            await asyncio.sleep(0.05)
            await predictions("late")(received, writer)

        async with HttpServer([late, predictions("own")]) as server:
            upstream = server.upstream()
            task = asyncio.ensure_future(send(upstream))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await send(upstream) == V1Reply(["own"])
            await upstream.aclose()

    run(main())


def test_kept_connection_that_was_closed_is_replaced() -> None:
    async def main() -> None:
        async with HttpServer([predictions(1)]) as server:
            upstream = server.upstream()
            await send(upstream)
            server.close_connections()
            await asyncio.sleep(0.02)
            assert await send(upstream) == V1Reply([1])
            assert server.connections == 2
            await upstream.aclose()

    run(main())


def test_kept_connection_that_closes_as_the_request_travels_costs_one_further_try() -> None:
    async def main() -> None:
        async with HttpServer([predictions(1), reset, predictions(2)]) as server:
            upstream = server.upstream()
            assert await send(upstream) == V1Reply([1])
            assert await send(upstream) == V1Reply([2])
            assert [received.connection for received in server.received] == [1, 1, 2]
            await upstream.aclose()

    run(main())


def test_answer_that_broke_off_is_not_asked_for_again() -> None:
    async def main() -> None:
        async with HttpServer([predictions(1), write(WHOLE[:20], close=True)]) as server:
            upstream = server.upstream()
            await send(upstream)
            with pytest.raises(Unavailable):
                await send(upstream)
            assert len(server.received) == 2
            await upstream.aclose()

    run(main())


def test_bytes_nobody_asked_for_are_not_the_next_answer() -> None:
    async def main() -> None:
        stray = response(b'{"predictions": ["stray"]}')
        async with HttpServer([write(WHOLE + stray), predictions("own")]) as server:
            upstream = server.upstream()
            first = await send(upstream)
            await asyncio.sleep(0.02)
            assert first == V1Reply(["ab", "cd"])
            assert await send(upstream) == V1Reply(["own"])
            await upstream.aclose()

    run(main())


def test_unreachable_server_is_unavailable_and_its_address_a_secret() -> None:
    async def main() -> None:
        async with HttpServer([silence]) as server:
            address = server.url
        upstream = Upstream(parse(address, "inference"))
        with pytest.raises(NotReached, match="the model server is not reachable") as caught:
            await send(upstream)
        assert caught.value.retry_after is not None
        assert "127.0.0.1" not in caught.value.message

    run(main())


def test_connections_are_bounded() -> None:
    async def main() -> None:
        async with HttpServer([silence]) as server:
            upstream = server.upstream(connections=2)
            tasks = [asyncio.ensure_future(send(upstream, seconds=0.2)) for _ in range(3)]
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert sorted(type(outcome).__name__ for outcome in outcomes) == [
                "Busy",
                "DeadlineExceeded",
                "DeadlineExceeded",
            ]
            await upstream.aclose()

    run(main())


def test_request_beyond_the_servers_limit_is_not_sent() -> None:
    async def main() -> None:
        async with HttpServer([predictions(1)]) as server:
            upstream = server.upstream(request_limit=100)
            with pytest.raises(TooLarge, match=r"100 bytes \(max_request_size in config.properties\)"):
                await send(upstream, V1Call("m", None, False, ["x" * 100]))
            assert server.received == []

    run(main())


@pytest.mark.parametrize("size", [HEADER_LIMIT - 100, HEADER_LIMIT + 100, 5_000_000])
def test_large_bodies_arrive_whole_both_ways(size: int) -> None:
    async def main() -> None:
        async def echo(received: Received, writer: asyncio.StreamWriter) -> None:
            instances = orjson.loads(received.body)["instances"]
            writer.write(response(orjson.dumps({"predictions": instances})))
            await writer.drain()

        async with HttpServer([echo]) as server:
            upstream = server.upstream()
            assert await send(upstream, V1Call("m", None, False, ["x" * size])) == V1Reply(["x" * size])
            await upstream.aclose()

    run(main())


REFUSAL = orjson.dumps({"code": 400, "type": "InvalidKeyException", "message": "Token Authorization failed."})


@pytest.mark.parametrize(("keys", "good"), [(["old", "new"], True), (["old", "old"], False), (["old", None], False)])
def test_replaced_key_is_read_again_once(keys: List[Optional[str]], good: bool) -> None:
    async def main() -> None:
        async def check(received: Received, writer: asyncio.StreamWriter) -> None:
            authorized = received.headers.get("authorization") == "new"
            writer.write(WHOLE if authorized else response(REFUSAL, 400, connection="close"))

        async with HttpServer([check]) as server:
            left = list(keys)
            upstream = server.upstream(authorize=lambda: left.pop(0))
            if good:
                assert await send(upstream) == V1Reply(["ab", "cd"])
            else:
                with pytest.raises(Refused):
                    await send(upstream)
            assert len(server.received) <= 2
            await upstream.aclose()

    run(main())


def torchserve(code: int, kind: str, message: str) -> Dict[str, Any]:
    return {"code": code, "type": kind, "message": message}


NO_WORKER = 'Model "m" has no worker to serve inference request. Please use scale workers API to add workers.'


@pytest.mark.parametrize(
    ("status", "content", "kind", "message"),
    [
        (400, {"error": "row 1 is no image", "rows": {"1": "no image"}}, InvalidRequest, "row 1 is no image"),
        (422, {"error": "odd"}, InvalidRequest, "odd"),
        (404, {"error": "no such thing"}, NotFound, "no such thing"),
        (503, {"error": "warming up"}, Unavailable, "warming up"),
        (418, {"error": "teapot"}, InvalidRequest, "teapot"),
        (404, torchserve(404, "ModelNotFoundException", "Model not found: m"), NotFound, "model m is not registered"),
        (404, torchserve(404, "ModelVersionNotFoundException", "x"), NotFound, "model m is not registered"),
        (503, torchserve(503, "ServiceUnavailableException", NO_WORKER), Busy, "no free worker"),
        (503, torchserve(503, "InternalServerException", "Prediction failed"), InternalError, "failed on this request"),
        (503, torchserve(503, "InternalServerException", "number of batch"), InternalError, "failed on this request"),
        (500, torchserve(500, "InternalServerException", "Worker died."), Unavailable, "lost the worker"),
        (507, torchserve(507, "InternalServerException", "Worker died."), Unavailable, "lost the worker"),
        (507, torchserve(507, "InternalServerException", "Out of resources"), WrapperError, "does not have the memory"),
        (422, torchserve(422, "InternalServerException", "told by the handler"), InvalidRequest, "told by the handler"),
        (513, torchserve(513, "InternalServerException", "/opt/secret"), InternalError, "failed on this request"),
        (500, torchserve(500, "NullPointerException", "java.lang…"), BadGateway, "refused the request"),
    ],
)
def test_errors_of_torchserve_and_its_handlers(
    status: int, content: Dict[str, Any], kind: Type[WrapperError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        one(write(response(orjson.dumps(content), status, connection="close")))
    error = caught.value
    assert error.rows == ({1: "no image"} if "rows" in content else {})
    assert "secret" not in error.message
    if "error" in content:
        assert error.status == status


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (422, b'{"detail": [1]}', "application/json", '{"detail": [1]}'),
        (409, b'{"error": "taken", "code": 7}', "application/json", "taken"),
        (404, b"no such thing", "text/plain", "no such thing"),
        (499, b"\xff\xfe", "application/octet-stream", "model m answered with status 499 and no explanation"),
    ],
)
def test_a_handlers_own_4xx_passes_as_it_is(status: int, body: bytes, kind: str, text: str) -> None:
    with pytest.raises(WrapperError) as caught:
        one(write(response(body, status, content_type=kind)))
    error = caught.value
    assert (error.status, error.body, error.content_type, error.message) == (status, body, kind.encode(), text)


@pytest.mark.parametrize(("status", "body"), [(422, b""), (500, b"traceback"), (503, b'{"a": 1}')])
def test_other_errors_are_told_in_our_words(status: int, body: bytes) -> None:
    with pytest.raises(WrapperError, match="and no explanation") as caught:
        one(write(response(body, status)))
    assert (caught.value.status, caught.value.body) == (status, None)


def test_a_handler_that_names_rows_is_told_in_our_words() -> None:
    async def main() -> None:
        async with HttpServer([write(response(b'{"error": "row 0: odd", "rows": {"0": "odd"}}', 400))]) as server:
            upstream = server.upstream()
            with pytest.raises(InvalidRequest, match="row 0: odd") as caught:
                await upstream.send(CALL, ModelMetadata("m", ["1"], extensions=["row_errors"]), time.monotonic() + 30)
            assert (caught.value.body, caught.value.rows) == (None, {0: "odd"})
            await upstream.aclose()

    run(main())


FAILED = {"code": 503, "type": "InternalServerException", "message": "Prediction failed"}


@pytest.mark.parametrize("answer", [(503, orjson.dumps(FAILED)), (200, b'{"a": 1}'), (200, b"null")])
@pytest.mark.parametrize(
    ("envelope", "v1", "v2"),
    [
        ("kserve", None, "reads V1 (/v1/models/…) and not V2"),
        ("json", None, "reads V1 (/v1/models/…) and not V2"),
        ("kservev2", "reads V2 (/v2/models/…, gRPC) and not V1", None),
        ("body", None, None),
        (None, None, None),
    ],
)
def test_a_protocol_that_the_envelope_does_not_read_is_the_clients_mistake(
    answer: Tuple[int, bytes], envelope: Optional[str], v1: Optional[str], v2: Optional[str]
) -> None:
    async def main() -> None:
        async with HttpServer([write(response(answer[1], answer[0]))]) as server:
            upstream = server.upstream(envelope=envelope)
            for call, told in ((CALL, v1), (V2Call("m", None, False, []), v2)):
                sent = upstream.send(call, STOCK, time.monotonic() + 30)
                if told is None:
                    assert not isinstance((await asyncio.gather(sent, return_exceptions=True))[0], InvalidRequest)
                    continue
                with pytest.raises(InvalidRequest) as caught:
                    await sent
                assert told in caught.value.message
                assert f"envelope {envelope}" in caught.value.message
            # A handler with envelopes of its own reads both.
            own = ModelMetadata("m", ["1"], extensions=["row_errors"])
            for call in (CALL, V2Call("m", None, False, [])):
                outcome = await asyncio.gather(upstream.send(call, own, time.monotonic() + 30), return_exceptions=True)
                assert not isinstance(outcome[0], InvalidRequest)
            await upstream.aclose()

    run(main())


@pytest.mark.parametrize("rows", [[1], {"x": "y"}, {"-1": "y"}, "1", {"99999999999": "y"}, None])
def test_odd_rows_in_an_error_are_left_out(rows: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        one(write(response(orjson.dumps({"error": "e", "rows": rows}), 400)))
    assert caught.value.rows == {}


@pytest.mark.parametrize("headers", [{"a": "b\r\nx: y"}, {"a\r\nx": "y"}, {"a": "ü"}])
def test_headers_cannot_carry_others(headers: Dict[str, str]) -> None:
    async def main() -> None:
        async with HttpServer([predictions(1)]) as server:
            with pytest.raises(InvalidRequest):
                await send(server.upstream(), headers=headers)
            assert server.received == []

    run(main())


def test_an_answer_in_pieces_is_told_as_one() -> None:
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (b'{"a":1}', b'{"a":2}', b""))
    with pytest.raises(BadGateway, match="send_intermediate_predict_response"):
        one(write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces))
