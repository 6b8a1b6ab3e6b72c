"""The bytes of a connection: however they are cut, every request gets its own answer, in order."""

from __future__ import annotations

import asyncio
import gc
import re
import weakref
from typing import Any, Callable, Coroutine, List, Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.core.errors import WrapperError
from kserve_wrapper.httpd.budget import BodyBudget
from kserve_wrapper.httpd.connection import LINGER, MOST_WAITING, ConnectionLimits, HttpConnection, Shared
from kserve_wrapper.httpd.messages import Request, Response
from kserve_wrapper.httpd.response_head import compose_head
from kserve_wrapper.rest.app import error_response

ANSWER = re.compile(rb"HTTP/1\.1 (\d+) [^\r]*\r\n(?:[^\r]+\r\n)*?content-length: (\d+)\r\n(?:[^\r]+\r\n)*\r\n")
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
NO_LIMITS = ConnectionLimits()


class FakeTransport:
    """Takes what is written; of that ``unread`` bytes are not read by the client."""

    def __init__(self) -> None:
        self.written = b""
        self.unread = 0
        self.closed = self.ended = self.aborted = self.paused = False

    @property
    def over(self) -> bool:
        """The client hears no more."""
        return self.closed or self.ended

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("10.0.0.1", 5), "sockname": ("10.0.0.2", 80)}.get(name)

    def write(self, data: bytes) -> None:
        assert not self.over
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return self.unread

    def answers(self) -> List[Tuple[int, bytes]]:
        """Status and body of every answer, the interim ones left out; asserts that nothing else was written."""
        found, left = [], self.written
        while left:
            if left.startswith(INTERIM):
                left = left[len(INTERIM) :]
                continue
            head = ANSWER.match(left)
            assert head, left[:200]
            end = head.end() + int(head[2])
            found.append((int(head[1]), left[head.end() : end]))
            left = left[end:]
        return found


async def echo(asked: Request) -> None:
    """Answers with path and body."""
    asked.answer(Response(asked.raw_path + b" " + await asked.body()))


class Slow:
    """Echoes after ``turns`` turns of the event loop; keeps the paths of requests that were called off before."""

    def __init__(self, turns: int = 1) -> None:
        self.turns = turns
        self.begun: List[bytes] = []
        self.called_off: List[bytes] = []

    async def __call__(self, asked: Request) -> None:
        self.begun.append(asked.raw_path)
        try:
            for _ in range(self.turns):
                await asyncio.sleep(0)
            await echo(asked)
        except asyncio.CancelledError:
            assert asked.is_lost()
            self.called_off.append(asked.raw_path)
            raise


class Application:
    """What a connection asks of one.

    Args:
        answer: to requests.
    """

    def __init__(self, answer: Callable[[Request], Coroutine[Any, Any, None]]) -> None:
        self._answer = answer
        self.refused: List[int] = []

    async def __call__(self, asked: Request) -> None:
        try:
            await self._answer(asked)
        except WrapperError as error:
            asked.answer(error_response(error))

    def refuse(self, error: WrapperError) -> Response:
        self.refused.append(error.status)
        return error_response(error)


class Rig:
    """A connection to an application. To be made in an event loop."""

    def __init__(
        self, app: Any = echo, limits: ConnectionLimits = NO_LIMITS, budget: int = 0, beside: Optional[Rig] = None
    ) -> None:
        self.app = Application(app)
        self.shared = beside.shared if beside is not None else Shared(self.app, limits, BodyBudget(budget))
        self.transport = FakeTransport()
        self.connection = HttpConnection(self.shared)
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]

    async def feed(self, *pieces: bytes) -> None:
        """As a socket does: a piece at a time, none while reading is paused, until the application has come to rest."""
        for piece in pieces:
            await settle()
            for _ in range(1000):
                if not self.transport.paused:
                    break
                await asyncio.sleep(0)
            if self.transport.over:
                break
            self.connection.data_received(piece)
        await settle()

    @property
    def answers(self) -> List[Tuple[int, bytes]]:
        return self.transport.answers()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def request(path: str, body: bytes, chunks: Optional[List[int]] = None, *headers: str) -> bytes:
    """With a length, or in chunks of the given sizes (the rest in a last one)."""
    lines = [f"POST {path} HTTP/1.1", "Host: h", *headers]
    if chunks is None:
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
    sent = b""
    for size in [*chunks, len(body)]:
        piece, body = body[:size], body[size:]
        sent += b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
    return "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode() + sent + b"0\r\n\r\n"


OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
INNER = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
bodies = st.binary(max_size=120) | st.just(INNER)
chunkings = st.none() | st.lists(st.integers(1, 40), max_size=4)
Wanted = List[Tuple[bytes, Optional[List[int]], bool]]
#: Body, how it is cut into chunks, and whether its client offers HTTP/2.
requests = st.lists(st.tuples(bodies, chunkings, st.booleans()), min_size=1, max_size=5)


def stream_of(wanted: Wanted) -> bytes:
    return b"".join(
        request(f"/{number}", body, chunks, *(OFFER if offers else ()))
        for number, (body, chunks, offers) in enumerate(wanted)
    )


def answers_to(wanted: Wanted) -> List[Tuple[int, bytes]]:
    return [(200, b"/%d " % number + body) for number, (body, _, _) in enumerate(wanted)]


#: An application that answers as soon as may be, one that takes a little, and one that takes longer than its client.
applications = st.sampled_from([lambda: echo, Slow, lambda: Slow(30)])


@given(requests, st.lists(st.integers(1, 200), max_size=12), applications)
def test_every_request_gets_its_own_answer_however_the_bytes_are_cut(
    wanted: Wanted, cuts: List[int], application: Callable[[], Any]
) -> None:
    stream = stream_of(wanted)
    pieces = []
    for cut in [*cuts, len(stream)]:
        pieces.append(stream[:cut])
        stream = stream[cut:]

    async def main() -> None:
        rig = Rig(application())
        await rig.feed(*[piece for piece in pieces if piece])
        for _ in range(10):
            await settle()
        assert rig.answers == answers_to(wanted)
        assert not rig.transport.closed

    run(main)


NO_REQUESTS = [
    b"\x00",
    b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET http://h:99999999/ HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
]


@given(requests, st.sampled_from(NO_REQUESTS), st.binary(max_size=30), applications)
def test_what_is_no_request_takes_nothing_from_the_answers_before_it(
    wanted: Wanted, bad: bytes, tail: bytes, application: Callable[[], Any]
) -> None:
    async def main() -> None:
        rig = Rig(application())
        await rig.feed(stream_of(wanted) + bad + tail)
        for _ in range(10):
            await settle()
        assert rig.answers[:-1] == answers_to(wanted)
        assert rig.answers[-1][0] == 400
        assert rig.transport.over
        assert rig.app.refused == [400] or bad.startswith(b"POST")

    run(main)


def test_a_request_behind_another_is_begun_when_that_is_answered() -> None:
    async def main() -> None:
        app = Slow(3)
        rig = Rig(app)
        rig.connection.data_received(request("/a", b"") + request("/b", b""))
        await asyncio.sleep(0)
        assert app.begun == [b"/a"]
        assert rig.answers == []
        await settle()
        assert app.begun == [b"/a", b"/b"]
        assert rig.answers == [(200, b"/a "), (200, b"/b ")]

    run(main)


def test_a_request_is_called_off_once_if_its_client_goes_before_the_answer() -> None:
    async def main() -> None:
        app = Slow(5)
        rig, other = Rig(app), Rig(app)
        rig.connection.data_received(request("/lost", b"") + request("/behind", b""))
        await asyncio.sleep(0)
        rig.connection.connection_lost(None)
        await other.feed(request("/answered", b""))
        assert app.begun == [b"/lost", b"/answered"]
        other.connection.connection_lost(None)
        await settle()
        assert app.called_off == [b"/lost"]
        assert rig.answers == []

    run(main)


def test_a_body_that_goes_wrong_is_refused_where_it_is_awaited() -> None:
    refused: List[int] = []

    async def app(asked: Request) -> None:
        try:
            await echo(asked)
        except WrapperError as error:
            refused.append(error.status)
            raise

    async def main() -> None:
        rig = Rig(app)
        await rig.feed(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", b"nonsense\r\n")
        assert [status for status, _ in rig.answers] == [400]
        assert rig.transport.over
        assert refused == [400]

    run(main)


def test_a_client_that_asks_is_told_to_go_on() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.feed(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert rig.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
        await rig.feed(b"ab")
        assert rig.answers == [(200, b"/ ab")]

    run(main)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (request("/", b"", None, "Connection: close"), True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (request("/", b""), False),
    ],
)
def test_a_connection_that_is_closed_says_so(sent: bytes, told: bool) -> None:
    async def main() -> None:
        rig = Rig()
        await rig.feed(sent)
        assert (b"connection: close" in rig.transport.written) == rig.transport.closed == told

    run(main)


def test_an_upgrade_is_passed_over() -> None:
    async def main() -> None:
        rig = Rig()
        upgrade = request("/a", b"", None, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c")
        await rig.feed(upgrade + request("/b", b"x"))
        await rig.feed(request("/c", b""))
        assert rig.answers == [(200, b"/a "), (200, b"/b x"), (200, b"/c ")]

    run(main)


def test_a_proxys_url_is_its_path() -> None:
    async def main() -> None:
        seen: List[Request] = []

        async def app(asked: Request) -> None:
            seen.append(asked)
            await echo(asked)

        rig = Rig(app)
        await rig.feed(request("http://h:80/a%20b?q=1", b""), request("/c?x=%2f", b""))
        assert [one.raw_path for one in seen] == [b"/a%20b", b"/c"]
        assert seen[0].client == "10.0.0.1"

    run(main)


def test_an_application_that_fails_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def app(asked: Request) -> None:
        raise RuntimeError("the inside")

    async def main() -> None:
        rig = Rig(app)
        await rig.feed(request("/", b""))
        [(status, body)] = rig.answers
        assert status == 500
        assert b"inside" not in body
        assert rig.transport.closed

    run(main)
    assert "the inside" in caplog.text


def test_much_body_that_nobody_takes_is_not_read() -> None:
    async def main() -> None:
        app = Gated()
        rig = Rig(app)
        body = b"x" * 300_000
        sent = request("/", body)
        rig.connection.data_received(sent[:100_000])
        await settle()
        assert rig.transport.paused
        app.gate.set()
        await settle()
        assert not rig.transport.paused
        await rig.feed(sent[100_000:])
        assert rig.answers == [(200, b"/ " + body)]

    run(main)


def test_who_does_not_read_is_not_answered_further_and_let_go() -> None:
    async def main() -> None:
        rig = Rig(limits=ConnectionLimits(keep_alive=0.05))
        rig.transport.unread = 100
        rig.connection.pause_writing()
        await rig.feed(request("/a", b"") + request("/b", b""))
        assert rig.answers == []
        rig.connection.resume_writing()
        await settle()
        assert rig.answers == [(200, b"/a "), (200, b"/b ")]
        rig.connection.pause_writing()
        rig.connection.data_received(request("/c", b""))
        rig.transport.unread = 50  # something was read
        await asyncio.sleep(0.08)
        assert not rig.transport.closed
        await asyncio.sleep(0.08)
        assert rig.transport.aborted

    run(main)


def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    async def main() -> None:
        app = Gated()
        rig = Rig(app, ConnectionLimits(read_timeout=0.03, keep_alive=0.03))
        await rig.feed(request("/", b""))
        await asyncio.sleep(0.1)
        assert not rig.transport.closed
        app.gate.set()
        await settle()
        assert len(rig.answers) == 1
        assert not rig.transport.closed
        await asyncio.sleep(0.1)
        assert rig.transport.closed
        assert len(rig.answers) == 1

    run(main)


def test_shutting_down_answers_what_came() -> None:
    async def main() -> None:
        rig = Rig()
        rig.connection.data_received(request("/a", b"") + request("/b", b""))
        rig.connection.shut_down()
        assert not rig.transport.closed
        await settle()
        assert rig.answers == [(200, b"/a "), (200, b"/b ")]
        assert rig.transport.closed
        idle = Rig()
        idle.connection.shut_down()
        assert idle.transport.closed

    run(main)


def test_shutting_down_waits_for_a_request_that_arrives() -> None:
    async def main() -> None:
        rig = Rig()
        sent = request("/a", b"body")
        await rig.feed(sent[:-2])
        rig.connection.shut_down()
        await rig.feed(sent[-2:])
        assert rig.answers == [(200, b"/a body")]
        assert b"connection: close" in rig.transport.written
        assert rig.transport.closed

    run(main)


@pytest.mark.parametrize("value", [b"a\r\nX: 1", b"a\nX: 1", b"a\rX: 1"])
def test_a_header_is_one_line(value: bytes) -> None:
    with pytest.raises(ValueError, match="line break"):
        compose_head(200, [(b"x", value)])


def test_a_status_without_a_name_is_passed_on() -> None:
    head = compose_head(460, [])
    assert head.startswith(b"HTTP/1.1 460 \r\ndate: ")
    assert head.endswith(b" GMT\r\n\r\n")


class Gated:
    """Echoes once its gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, asked: Request) -> None:
        await self.gate.wait()
        await echo(asked)


def test_a_client_that_reads_again_is_not_late() -> None:
    """The time it had for reading ends when it reads; what it sent meanwhile is answered in its own time."""

    async def main() -> None:
        app = Gated()
        rig = Rig(app, ConnectionLimits(read_timeout=5, keep_alive=0.05))
        rig.transport.unread = 10
        rig.connection.pause_writing()
        await rig.feed(request("/a", b""))
        rig.transport.unread = 0
        rig.connection.resume_writing()
        await asyncio.sleep(0.12)
        app.gate.set()
        await settle()
        assert rig.answers == [(200, b"/a ")]

    run(main)


def test_a_request_that_we_did_not_read_on_is_not_late() -> None:
    async def main() -> None:
        app = Gated()
        rig = Rig(app, ConnectionLimits(read_timeout=0.05))
        second = request("/b", b"x" * 50)
        rig.connection.data_received(request("/a", b"") + second[:-10])
        assert rig.transport.paused
        await asyncio.sleep(0.12)
        app.gate.set()
        await settle()
        await rig.feed(second[-10:])
        assert rig.answers == [(200, b"/a "), (200, b"/b " + b"x" * 50)]

    run(main)


def test_trailers_are_passed_over() -> None:
    seen: List[Any] = []

    async def app(asked: Request) -> None:
        seen.append(asked.headers)
        await echo(asked)

    async def main() -> None:
        rig = Rig(app)
        head = b"POST /a HTTP/1.1\r\nHost: h\r\nX-Request-Id: own\r\nTransfer-Encoding: chunked\r\n\r\n"
        await rig.feed(head + b"1\r\nx\r\n0\r\nX-Request-Id: other\r\n\r\n" + request("/b", b""))
        assert rig.answers == [(200, b"/a x"), (200, b"/b ")]
        assert seen[0][b"x-request-id"] == b"own"

    run(main)


@pytest.mark.parametrize("trailer", [b"a: b\r\n" * 30, b"a: " + b"b" * 200])
def test_trailers_have_the_limit_of_heads(trailer: bytes) -> None:
    async def main() -> None:
        rig = Rig(limits=ConnectionLimits(header_size=1000))
        head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
        await rig.feed(head, *[trailer] * 10)
        assert [status for status, _ in rig.answers] == [431]
        assert rig.transport.over

    run(main)


def test_a_head_behind_another_request_has_its_limit_too() -> None:
    async def main() -> None:
        rig = Rig(limits=ConnectionLimits(header_size=1000))
        long = request("/b", b"", None, "X: " + "y" * 3000)
        await rig.feed(request("/a", b"z" * 5000) + long)
        assert [status for status, _ in rig.answers] == [200, 431]
        rig = Rig(limits=ConnectionLimits(header_size=1000))
        await rig.feed(request("/a", b"z" * 5000) + long[:2000], long[2000:])
        assert [status for status, _ in rig.answers] == [200, 431]
        rig = Rig(limits=ConnectionLimits(header_size=1000))
        await rig.feed(request("/a", b"z" * 5000) + request("/b", b"z" * 5000, None, "X: " + "y" * 700))
        assert [status for status, _ in rig.answers] == [200, 200]

    run(main)


def test_who_does_not_read_its_last_answer_is_let_go() -> None:
    async def main() -> None:
        rig = Rig(limits=ConnectionLimits(keep_alive=0.05))
        rig.transport.unread = 100
        await rig.feed(request("/", b"", None, "Connection: close"))
        assert rig.transport.closed
        assert not rig.transport.aborted
        await asyncio.sleep(0.12)
        assert rig.transport.aborted

    run(main)


def test_an_application_that_is_cancelled_for_no_reason_is_a_500() -> None:
    async def app(asked: Request) -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        rig = Rig(app)
        await rig.feed(request("/", b""))
        assert [status for status, _ in rig.answers] == [500]
        assert rig.transport.closed

    run(main)


def test_more_requests_than_may_wait_are_all_answered() -> None:
    """The connection is not read on, and what came of them stays in its bytes."""

    async def main() -> None:
        app = Gated()
        rig = Rig(app, budget=2**20)
        count = 5000
        rig.connection.data_received(b"".join(request(f"/{number}", b"") for number in range(count)))
        await settle()
        assert rig.transport.paused
        made = sum(1 for one in gc.get_objects() if type(one) is Request)
        assert made <= MOST_WAITING + 400
        assert rig.shared.budget.held > 100_000
        app.gate.set()
        for _ in range(count):
            await settle()
            if len(rig.answers) == count:
                break
        assert rig.answers == [(200, b"/%d " % number) for number in range(count)]
        assert not rig.transport.over
        assert not rig.transport.paused
        assert rig.shared.budget.held == 0

    run(main)


def test_an_early_answer_to_a_client_that_waits_to_go_on_ends_the_connection() -> None:
    """Its body may follow or not: nothing else may be read from what comes."""

    async def app(asked: Request) -> None:
        asked.answer(Response(b"", 413))

    async def main() -> None:
        rig = Rig(app)
        await rig.feed(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        assert rig.answers == [(413, b"")]
        assert b"connection: close" in rig.transport.written
        assert rig.transport.over

    run(main)


def test_an_old_client_is_not_told_to_go_on() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.feed(b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", b"ab")
        assert rig.transport.written.startswith(b"HTTP/1.1 200 ")

    run(main)


def test_shutting_down_answers_what_came_to_who_does_not_read_yet() -> None:
    async def main() -> None:
        rig = Rig()
        rig.connection.pause_writing()
        rig.connection.data_received(request("/a", b""))
        rig.connection.shut_down()
        await settle()
        assert not rig.transport.closed
        rig.connection.resume_writing()
        await settle()
        assert rig.answers == [(200, b"/a ")]
        assert rig.transport.closed

    run(main)


@pytest.mark.parametrize("sent", [request("/", b""), request("/", b"abc")[:-1], request("/", b"") + request("/", b"")])
@pytest.mark.parametrize("application", [Gated, Slow, lambda: Slow(10**6)])
def test_a_lost_connection_leaves_nothing_to_the_garbage_collector(sent: bytes, application: Any) -> None:
    async def main() -> None:
        gc.collect()
        rig = Rig(application())
        rig.connection.data_received(sent)
        await settle()
        rig.connection.connection_lost(None)
        seen = weakref.ref(rig.connection)
        del rig
        await settle()
        assert seen() is None

    gc.disable()
    try:
        run(main)
    finally:
        gc.enable()


def host(*values: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", *[f"Host: {value}" for value in values], "", ""]).encode()


@pytest.mark.parametrize(
    "sent",
    [
        host(),
        host("a", "a"),
        host("a b/c"),
        host("h:x"),
        host("[::1"),
        host("u@h"),
        host("h" * 301),
        host("a,b/"),
        host("\xe9"),
    ],
)
def test_a_request_has_one_host(sent: bytes) -> None:
    async def main() -> None:
        rig = Rig()
        await rig.feed(request("/before", b"") + sent)
        assert [status for status, _ in rig.answers] == [200, 400]
        assert b"Host" in rig.answers[-1][1]
        assert rig.app.refused == [400]
        assert rig.transport.over

    run(main)


@pytest.mark.parametrize(
    "value", ["h", "h:80", "h:", "10.0.0.1:8080", "[::1]:80", "mnist-predictor.default.svc", "a_b", ""]
)
def test_hosts_as_clients_send_them(value: str) -> None:
    async def main() -> None:
        rig = Rig()
        await rig.feed(host(value))
        assert rig.answers == [(200, b"/ ")]

    run(main)


def test_an_old_client_needs_no_host_and_has_one_at_most() -> None:
    async def main() -> None:
        rig, two = Rig(), Rig()
        await rig.feed(b"GET / HTTP/1.0\r\n\r\n")
        assert rig.answers == [(200, b"/ ")]
        await two.feed(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n")
        assert [status for status, _ in two.answers] == [400]

    run(main)


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/2.0",
        b"GET / HTTP/0.9",
        b"GET /",
        b"GET / HTTP/3.0",
        b"GET / HTTP/9.9",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
    ],
)
def test_other_major_versions(line: bytes) -> None:
    async def main() -> None:
        rig = Rig()
        await rig.feed(line + b"\r\nHost: h\r\n\r\n")
        assert [status for status, _ in rig.answers] == [505]
        assert rig.app.refused == [505]
        assert rig.transport.over

    run(main)


def test_every_answer_has_a_date() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.feed(request("/a", b"") + request("/b", b"") + b"nonsense\r\n\r\n")
        dates = re.findall(rb"\r\ndate: (\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT)\r\n", rig.transport.written)
        assert len(dates) == len(rig.answers) == 3

    run(main)


class Taking:
    """Asks for the body at once; keeps what became of it."""

    def __init__(self) -> None:
        self.refused: List[int] = []

    async def __call__(self, asked: Request) -> None:
        try:
            await echo(asked)
        except WrapperError as error:
            self.refused.append(error.status)
            raise


CHUNKED = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n", b"abc"],
        [b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n"],
        [CHUNKED + b"40\r\n" + b"x" * 64 + b"\r\n", b"40\r\n" + b"x" * 64],
    ],
    ids=["announced", "announced and asked", "chunked"],
)
def test_a_body_beyond_the_limit_is_refused_and_ends_the_connection(pieces: List[bytes]) -> None:
    async def main() -> None:
        app = Taking()
        rig = Rig(app, ConnectionLimits(body_size=100, keep_alive=60))
        await rig.feed(*pieces)
        [(status, body)] = rig.answers
        assert status == 413
        assert b"max_body_size, 100 bytes" in body
        assert b"connection: close" in rig.transport.written
        assert INTERIM not in rig.transport.written
        assert app.refused == [413]
        assert rig.app.refused == []
        assert rig.shared.budget.held == 0
        # What it still sends is passed over, for a while.
        assert not rig.transport.paused
        assert not rig.transport.closed
        rig.connection.data_received(b"x" * 1000 + request("/y", b""))
        await settle()
        assert len(rig.answers) == 1

    run(main)


def test_a_refused_client_that_sends_on_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kserve_wrapper.httpd.connection.LINGER", 0.05)
    assert LINGER > 0

    async def main() -> None:
        rig = Rig(limits=ConnectionLimits(body_size=1))
        await rig.feed(request("/", b"xx")[:-1])
        assert rig.transport.ended
        assert not rig.transport.closed
        await asyncio.sleep(0.1)
        assert rig.transport.closed

    run(main)


def test_bodies_that_do_not_fit_beside_the_others_are_refused() -> None:
    async def main() -> None:
        first = Rig(budget=100)
        half = request("/a", b"x" * 80)
        first.connection.data_received(half[:-20])
        await settle()
        assert first.shared.budget.held == 60
        announced, chunked, small = (Rig(beside=first) for _ in range(3))
        await announced.feed(request("/b", b"y" * 50)[:-50])
        await chunked.feed(CHUNKED + b"20\r\n" + b"x" * 32 + b"\r\n", b"20\r\n" + b"x" * 32)
        await small.feed(request("/c", b"z" * 40))
        for rig in (announced, chunked):
            [(status, body)] = rig.answers
            assert status == 503
            assert b"max_bodies_size, 100 bytes" in body
            assert b"retry-after: 1" in rig.transport.written
            assert rig.transport.over
        assert small.answers == [(200, b"/c " + b"z" * 40)]
        await first.feed(half[-20:])
        assert first.answers == [(200, b"/a " + b"x" * 80)]
        assert first.shared.budget.held == 0

    run(main)


@given(requests, st.lists(st.integers(1, 200), max_size=12), st.integers(0, 400), st.booleans())
def test_the_budget_is_whole_when_all_is_over(wanted: Wanted, cuts: List[int], budget: int, lost: bool) -> None:
    """However requests end: answered, refused, or with their client gone, behind others or not."""
    stream = stream_of(wanted)

    async def main() -> None:
        rig = Rig(Slow(3), budget=budget)
        left = stream
        for cut in cuts:
            rig.connection.data_received(left[:cut])
            left = left[cut:]
            assert 0 <= rig.shared.budget.held <= budget or not budget
            await asyncio.sleep(0)
        if lost:
            rig.connection.connection_lost(None)
        else:
            await rig.feed(left)
            for _ in range(20):
                await settle()
            assert len(rig.answers) == len(wanted) or rig.transport.over
            rig.connection.connection_lost(None)
        await settle()
        assert rig.shared.budget.held == 0

    run(main)


def test_more_connections_than_may_be_hear_so() -> None:
    async def main() -> None:
        first = Rig(limits=ConnectionLimits(connections=2))
        second, third = Rig(beside=first), Rig(beside=first)
        await third.feed(request("/", b""))
        [(status, body)] = third.answers
        assert status == 503
        assert b"max_connections, 2," in body
        assert b"retry-after: 1" in third.transport.written
        assert b"connection: close" in third.transport.written
        assert first.app.refused == [503]
        second.connection.connection_lost(None)
        third.connection.connection_lost(None)
        await first.feed(request("/a", b""))
        fourth = Rig(beside=first)
        await fourth.feed(request("/b", b""))
        assert first.answers == [(200, b"/a ")]
        assert fourth.answers == [(200, b"/b ")]

    run(main)


def test_a_late_body_is_408_where_it_is_awaited_and_a_late_head_is_counted() -> None:
    async def main() -> None:
        app = Taking()
        limits = ConnectionLimits(read_timeout=0.03)
        body, head, nothing = Rig(app, limits), Rig(limits=limits), Rig(limits=limits)
        body.connection.data_received(request("/", b"abc")[:-1])
        head.connection.data_received(b"GET / HT")
        await asyncio.sleep(0.1)
        for rig in (body, head, nothing):
            [(status, text)] = rig.answers
            assert status == 408
            assert b"read_timeout" in text
            assert rig.transport.over
        assert (app.refused, body.app.refused) == ([408], [])
        assert head.app.refused == nothing.app.refused == [408]

    run(main)


def test_a_head_that_stops_behind_answered_requests_is_late() -> None:
    async def main() -> None:
        rig = Rig(Slow(3), ConnectionLimits(read_timeout=0.05, keep_alive=5))
        rig.connection.data_received(request("/a", b"") + request("/b", b"") + b"GET / HT")
        await asyncio.sleep(0.15)
        assert [status for status, _ in rig.answers] == [200, 200, 408]

    run(main)


def test_a_client_that_goes_before_its_request_is_begun_is_told_to_the_application() -> None:
    async def main() -> None:
        gone: List[bool] = []

        async def app(asked: Request) -> None:
            gone.append(asked.is_lost())
            await echo(asked)

        rig = Rig(app)
        rig.connection.data_received(request("/", b"x"))
        rig.connection.connection_lost(None)
        await settle()
        assert gone == [True]

    run(main)
