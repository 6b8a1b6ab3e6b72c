"""The load generators: requests' files, arrivals, latency from the intended start, figures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.load import closed_loop, h2load, open_loop, wrk
from benchmarks.load.figures import LoadError
from benchmarks.load.request_file import read_requests, write_requests
from benchmarks.payloads import HttpRequest, grpc_frame

NAMES = st.text("abcdefghijklmnopqrstuvwxyzABC-", min_size=1, max_size=12)
VALUES = st.text("abc 0123/;=", max_size=20).map(str.strip)
REQUESTS = st.builds(
    HttpRequest,
    NAMES.map(lambda name: f"/{name}"),
    st.binary(max_size=300),
    st.just(1),
    st.dictionaries(NAMES, VALUES, max_size=3),
)


class Slow(ThreadingHTTPServer):
    """Answers one request at a time: the second of two waits for the first."""

    daemon_threads = True
    status = 200
    delay = 0.0

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.turn = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet: the generators leave without waiting for answers."""


class SlowHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        assert isinstance(self.server, Slow)
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.turn:
            threading.Event().wait(self.server.delay)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def slow() -> Iterator[Slow]:
    server = Slow(("127.0.0.1", 0), SlowHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(server: Slow) -> str:
    return f"127.0.0.1:{server.server_address[1]}"


@settings(deadline=None)
@given(st.lists(REQUESTS, max_size=5))
def test_requests_survive_their_file(requests: list[HttpRequest]) -> None:
    with TemporaryDirectory() as place:
        assert read_requests(write_requests(Path(place) / "file", requests)) == requests


@settings(deadline=None)
@given(st.floats(50, 500), st.integers(0, 1000))
def test_arrivals_are_in_order_and_as_many_as_asked(rate: float, seed: int) -> None:
    times = open_loop.arrivals(rate, 10, seed)
    assert times == sorted(times)
    assert all(0 < time < 10 for time in times)
    # Six standard deviations of a Poisson count.
    assert abs(len(times) - rate * 10) < 6 * (rate * 10) ** 0.5


def test_open_loop_charges_a_stall_to_every_request_that_it_held_up(slow: Slow) -> None:
    slow.delay = 0.05
    request = [open_loop.wire(HttpRequest("/", b"{}", 1), address(slow))]
    figures = asyncio.run(open_loop.drive(address(slow), request, 60, 0.5, connections=4, seed=1, grace=30))
    # The server can do 20 a second and was asked for 60: a closed loop would see 4 x 50 ms at most.
    assert figures["errors"] == 0
    assert figures["p99_ms"] > 400
    assert figures["p50_ms"] < figures["p90_ms"] < figures["p99_ms"]


def test_open_loop_counts_other_statuses_and_missing_answers_as_errors(slow: Slow) -> None:
    slow.status = 503
    request = [open_loop.wire(HttpRequest("/", b"{}", 1), address(slow))]
    figures = asyncio.run(open_loop.drive(address(slow), request, 50, 0.2, connections=2, seed=1, grace=10))
    assert figures["errors"] == figures["requests"] > 0
    slow.delay = 5
    figures = asyncio.run(open_loop.drive(address(slow), request, 50, 0.2, connections=2, seed=1, grace=0))
    assert figures["requests"] == 0
    assert figures["errors"] > 0


def test_closed_loop_keeps_one_request_a_connection(slow: Slow) -> None:
    slow.delay = 0.02
    request = [open_loop.wire(HttpRequest("/", b"{}", 1), address(slow))]
    figures = asyncio.run(closed_loop.drive(address(slow), request, 2, 0.5))
    assert figures["errors"] == 0
    assert 0 < figures["requests"] <= 25


def test_wrk_figures_are_read_and_their_absence_is_told() -> None:
    line = '{"requests":5,"seconds":1.0,"p50_ms":1.0,"p90_ms":2.0,"p99_ms":3.0,"errors":1}'
    figures = wrk.parse(f"Running 1s test\n\n{line}\n")
    assert (figures.requests_per_second, figures.errors) == (5.0, 1)
    with pytest.raises(LoadError, match="no figures"):
        wrk.parse("unable to connect")


@pytest.mark.skipif(not wrk.available(), reason="wrk is not installed")
def test_wrk_sends_the_file_and_counts_errors(slow: Slow, tmp_path: Path) -> None:
    file = write_requests(tmp_path / "requests", [HttpRequest("/a", b"\x00\n1", 1), HttpRequest("/b", b"{}", 1)])
    good = wrk.run(address(slow), file, 2, 1)
    assert good.requests > 0
    assert good.errors == 0
    slow.status = 500
    bad = wrk.run(address(slow), file, 2, 1)
    assert bad.errors >= bad.requests > 0


OUTPUT = """requests: 10 total, 10 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout
traffic: 1.0KB (1000) total, 100B (100) headers (space savings 90%), 190B (190) data
"""


def test_h2load_tells_failed_calls_by_their_missing_data() -> None:
    log = h2load.read_log("".join(f"{start}\t200\t{start * 1000}\n" for start in range(1, 11)))
    frame = len(grpc_frame(b"")) + 14
    assert h2load.figures(log, OUTPUT, frame, 2.0).errors == 0
    assert h2load.figures(log, OUTPUT.replace("(190)", "(171)"), frame, 2.0).errors == 1
    figures = h2load.figures(log, OUTPUT, frame, 2.0)
    assert (figures.requests_per_second, figures.p50_ms, figures.p99_ms) == (5.0, 5.0, 10.0)


def test_a_grpc_frame_is_flag_length_message() -> None:
    assert grpc_frame(b"abc") == b"\x00\x00\x00\x00\x03abc"
