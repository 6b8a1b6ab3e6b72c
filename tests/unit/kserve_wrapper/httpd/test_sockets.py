"""What only real connections show: slow and vanished clients, headers beyond limits, keep-alive, pipelining."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import threading
import time
from typing import Iterator

import pytest

from tests.unit.kserve_wrapper.fakes import Front
from tests.unit.kserve_wrapper.live import Live, read_all

BODY = b'{"instances":[1]}'


def post(body: bytes, *headers: str, path: str = "/v1/models/mnist:predict") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with Live(Front(), max_body_size=1000, max_header_size=4096, read_timeout=0.5) as server:
        yield server


def test_connections_are_kept(live: Live) -> None:
    client = http.client.HTTPConnection("127.0.0.1", live.http_port, timeout=10)
    for _ in range(3):
        client.request("POST", "/v1/models/mnist:predict", BODY)
        response = client.getresponse()
        assert (response.status, response.read()) == (200, b'{"predictions":[1]}')
        assert response.getheader("server") is None
    client.request("HEAD", "/v2/health/ready")
    response = client.getresponse()
    assert (response.status, response.getheader("content-length"), response.read()) == (200, "14", b"")
    client.request("GET", "/v2/health/ready")
    assert json.loads(client.getresponse().read()) == {"ready": True}
    client.close()


def test_pipelined_requests_are_answered_in_order(live: Live) -> None:
    with live.connect() as connection:
        bodies = [b'{"instances":[%d]}' % number for number in range(5)]
        connection.sendall(b"".join(post(body) for body in bodies[:-1]) + post(bodies[-1], "Connection: close"))
        received = read_all(connection)
    assert [received.count(b'{"predictions":[%d]}' % number) for number in range(5)] == [1] * 5
    assert received.index(b"[0]") < received.index(b"[4]")


def test_a_chunked_body(live: Live) -> None:
    head = (
        b"POST /v1/models/mnist:predict HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with live.connect() as connection:
        connection.sendall(head + b'5\r\n{"ins\r\n')
        connection.sendall(b'c\r\ntances":[1]}\r\n0\r\n\r\n')
        assert read_all(connection).endswith(b'{"predictions":[1]}')


def test_a_chunked_body_beyond_the_limit(live: Live) -> None:
    head = (
        b"POST /v1/models/mnist:predict HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with live.connect() as connection:
        connection.sendall(head + b"7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_all_before_it_listens_hears_413(live: Live) -> None:
    with live.connect() as connection:
        connection.sendall(post(b"x" * 3500, "Connection: close"))
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert list(json.loads(received.split(b"\r\n\r\n", 1)[1])) == ["error"]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 8000,
        b"GET / HTTP/1.1\r\nX: " + b"a" * 8000 + b"\r\n\r\n",
        b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_headers_beyond_the_limit(live: Live, sent: bytes) -> None:
    with live.connect() as connection:
        connection.sendall(sent)
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 431 ")
    assert b"4096" in received


def test_headers_within_the_limit_and_a_large_body_in_one_piece(live: Live) -> None:
    body = b'{"instances":["' + b"a" * 900 + b'"]}'
    with live.connect() as connection:
        connection.sendall(post(body, "X: " + "a" * 3500, "Connection: close"))
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: h\r\n", post(BODY)[:-3]])
def test_a_slow_client_is_let_go(live: Live, sent: bytes) -> None:
    with live.connect() as connection:
        connection.sendall(sent)
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b'{"error":' in received


def test_a_trickle_does_not_buy_time(live: Live) -> None:
    started = time.monotonic()
    with live.connect() as connection:
        received = b""
        connection.settimeout(0.1)
        for byte in b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100:
            try:
                connection.sendall(bytes([byte]))
                received += connection.recv(1000)
            except (TimeoutError, OSError):
                pass
            if received:
                break
    assert received.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize(
    "sent", [b"\x00\x01\x02\r\n\r\n", b"GARBAGE\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n"]
)
def test_what_is_not_http(live: Live, sent: bytes) -> None:
    with live.connect() as connection:
        connection.sendall(sent)
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert list(json.loads(received.split(b"\r\n\r\n", 1)[1])) == ["error"]


def wait_for(condition: object) -> None:
    """Waits until a function is true, for at most 10 s."""
    assert callable(condition)
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    assert condition()


def test_a_client_that_leaves_cancels_its_call() -> None:
    front = Front()
    with Live(front) as live:
        gate = live.run(asyncio.Event)
        front.submitter.gate = gate
        leaver, stayer = live.connect(), live.connect()
        leaver.sendall(post(b'{"instances":["leaves"]}'))
        stayer.sendall(post(b'{"instances":["stays"]}', "Connection: close"))
        wait_for(lambda: len(front.submitter.calls) == 2)
        leaver.close()
        wait_for(lambda: front.submitter.cancelled == 1)
        live.run(gate.set)
        assert read_all(stayer).endswith(b'{"predictions":["stays"]}')
        stayer.close()
        wait_for(lambda: len(front.seen) == 2)
    assert sorted(status for _, status in front.seen) == [200, 499]


def test_draining_lets_requests_in_flight_finish() -> None:
    front = Front()
    with Live(front) as live:
        gate = live.run(asyncio.Event)
        front.submitter.gate = gate
        with live.connect() as early, live.connect() as late:
            early.sendall(post(BODY, "Connection: close"))
            wait_for(lambda: len(front.submitter.calls) == 1)
            drained = asyncio.run_coroutine_threadsafe(front.plane.drain(10), live.loop)
            live.run(lambda: None)
            late.sendall(post(BODY, "Connection: close"))
            assert read_all(late).startswith(b"HTTP/1.1 503 ")
            assert not drained.done()
            live.run(gate.set)
            assert read_all(early).endswith(b'{"predictions":[1]}')
            assert drained.result(10)


def test_draining_gives_up_at_its_time() -> None:
    front = Front()
    with Live(front) as live:
        front.submitter.gate = live.run(asyncio.Event)
        with live.connect() as connection:
            connection.sendall(post(BODY))
            wait_for(lambda: len(front.submitter.calls) == 1)
            assert asyncio.run_coroutine_threadsafe(front.plane.drain(0.05), live.loop).result(10) is False


def test_a_refused_body_ends_the_connection_at_once(live: Live) -> None:
    started = time.monotonic()
    with live.connect() as connection:
        connection.sendall(post(b"").replace(b"Length: 0", b"Length: 99999999999"))
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in received
    assert b"max_body_size, 1000 bytes" in received
    assert time.monotonic() - started < 10  # the client waits no longer than that for anything


def test_a_client_that_sends_much_before_it_listens_hears_why_it_is_refused(live: Live) -> None:
    """Its bytes are taken off the wire while it reads the answer, so that nothing resets the connection."""
    for refused, status in (
        (post(b"x" * 5_000_000), b"413"),
        (post(b"x" * 5_000_000, path="/nowhere"), b"404"),
        (b"nonsense\r\n\r\n" + b"x" * 5_000_000, b"400"),
    ):
        with live.connect() as connection:
            connection.sendall(refused)
            assert read_all(connection).startswith(b"HTTP/1.1 " + status)


def test_refusals_are_counted_as_what_went_over_the_wire() -> None:
    front = Front()
    with Live(front, max_body_size=1000, max_header_size=4096, read_timeout=0.3) as live:
        for sent in (
            post(BODY)[:-3],
            b"GET / HT",
            b"nonsense\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 8000,
            post(b"x" * 2000),
        ):
            with live.connect() as connection:
                connection.sendall(sent)
                status = int(read_all(connection).split(b" ")[1])
            wait_for(lambda: front.seen)
            [(route, counted)] = front.seen
            front.seen.clear()
            assert counted == status
            assert (route == "none") == (status not in (408, 413) or sent.startswith(b"GET"))


def test_connections_beyond_the_limit_hear_so() -> None:
    front = Front()
    with Live(front, max_connections=3) as live:
        kept = [live.connect() for _ in range(3)]
        for connection in kept:
            connection.sendall(post(BODY))
            assert connection.recv(65536).endswith(b'{"predictions":[1]}')
        for _ in range(5):
            with live.connect() as connection:
                connection.sendall(post(BODY))
                received = read_all(connection)
            assert received.startswith(b"HTTP/1.1 503 ")
            assert b"max_connections, 3," in received
        kept.pop().close()
        wait_for(lambda: live.server.connections < 3)
        with live.connect() as connection:
            connection.sendall(post(BODY, "Connection: close"))
            assert read_all(connection).startswith(b"HTTP/1.1 200 ")
        for connection in kept:
            connection.close()


def test_a_thousand_pipelined_requests_lose_no_answer(live: Live) -> None:
    count = 1000
    stream = b"".join(post(b'{"instances":[%d]}' % number) for number in range(count - 1))
    stream += post(b'{"instances":[%d]}' % (count - 1), "Connection: close")
    with live.connect() as connection:
        sender = threading.Thread(target=connection.sendall, args=(stream,))
        sender.start()
        received = read_all(connection)
        sender.join()
    assert re.findall(rb'\{"predictions":\[(\d+)\]\}', received) == [b"%d" % number for number in range(count)]
