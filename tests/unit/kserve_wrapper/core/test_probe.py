"""Whether a server answers: 200 alone is yes, and nothing is left for the garbage collector to warn of."""

from __future__ import annotations

import gc
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Iterator

import pytest

from kserve_wrapper.core.probe import answers
from kserve_wrapper.core.sockets import free_port


class Handler(BaseHTTPRequestHandler):
    """The path is the status; a body must come by POST."""

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        assert self.rfile.read(int(self.headers["Content-Length"])) == b"body"
        self.answer()

    def answer(self) -> None:
        self.send_response(int(self.path[1:]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def base() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "yes"), [(200, True), (404, False), (503, False)])
def test_only_200_is_an_answer(status: int, yes: bool, base: str) -> None:
    assert answers(f"{base}/{status}") is yes
    assert answers(f"{base}/{status}", b"body") is yes
    gc.collect()  # pytest makes an error of what is warned of here


def test_nobody_there_and_no_address() -> None:
    assert answers(f"http://127.0.0.1:{free_port()}/200") is False
    assert answers("nothing") is False
