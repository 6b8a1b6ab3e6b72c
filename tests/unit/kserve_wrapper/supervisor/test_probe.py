"""The supervisor's question to the wrapper, on real sockets."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Optional

import pytest

from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.supervisor import probe
from kserve_wrapper.supervisor.probe import Probe


@contextmanager
def answering(answer: bytes, context: Optional[ssl.SSLContext] = None) -> Iterator[int]:
    """A server that gives each connection this answer; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(10)
                    with suppress(ssl.SSLError):
                        answer_one(connection)
                    # Closed with something unread, it would be reset, and what was sent might be lost.
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

        def answer_one(connection: socket.socket) -> None:
            if context is None:
                connection.recv(65536)
                connection.sendall(answer)
                return
            link = context.wrap_socket(connection.dup(), server_side=True, do_handshake_on_connect=False)
            with link:
                link.do_handshake()
                link.recv(65536)
                link.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.mark.parametrize(
    ("status", "fault"), [(b"200 OK", None), (b"503 X", "TorchServe hangs"), (b"404 X", None), (b"500 X", None)]
)
def test_what_the_wrapper_answers(status: bytes, fault: Optional[str]) -> None:
    with answering(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status) as port:
        found = Probe("127.0.0.1", port, False, 0.0).ask()
    assert found is None if fault is None else fault in str(found)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-hello\r\n"])
def test_no_answer_is_silence(answer: bytes) -> None:
    with answering(answer) as port:
        assert "has not answered" in str(Probe("127.0.0.1", port, False, 0.0).ask())
    assert "has not answered" in str(Probe("127.0.0.1", free_port(), False, 0.0).ask())
    assert Probe("127.0.0.1", free_port(), False, 3600.0).ask() is None


def test_it_asks_only_when_it_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(Probe, "_status", lambda self: asked.append(1) or 200)
    question = Probe("127.0.0.1", 1, False, 60.0)
    assert question.pause() == 0
    assert question.ask() is question.ask() is None
    assert asked == [1]
    assert 0 < question.pause() <= probe._EVERY


@pytest.mark.parametrize("asks_for_certificates", [False, True])
def test_a_wrapper_with_tls_lives_even_where_it_wants_a_certificate(
    tmp_path: Path, asks_for_certificates: bool
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=elsewhere"]
    subprocess.run(
        [openssl, "req", "-x509", *made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if asks_for_certificates:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate)
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", context) as port:
        assert Probe("127.0.0.1", port, True, 0.0).ask() is None
