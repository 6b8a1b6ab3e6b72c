"""The wrapper as a process: started in every way, stopped, with several server processes; a stand-in is TorchServe."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "kserve_wrapper"
MODULE = ["-m", "kserve_wrapper"]
SCRIPT = [str(PACKAGE / "__main__.py")]


class Process:
    """A wrapper in front of ``torchserve``; its log goes to a file."""

    def __init__(self, how: List[str], config: Path, log: Path, arguments: List[str], cwd: Path) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("TS_KSERVE_", "MODEL_LOAD_", "PYTHONPATH"))}
        environ["CONFIG_PATH"] = str(config)
        if how is MODULE:
            environ["PYTHONPATH"] = str(ROOT)
        ports = ["--host", "127.0.0.1", "--http_port", "0", "--grpc_port", "0"]
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *how, *ports, *arguments], env=environ, stdout=file, stderr=file, cwd=cwd
            )

    def log(self) -> List[Dict[str, Any]]:
        """The lines that are JSON objects."""
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]

    def serving(self, count: int = 1) -> List[Dict[str, Any]]:
        """Waits for the lines that tell the ports, one a process."""
        self.wait(lambda: len(self._serving()) == count)
        return self._serving()

    def _serving(self) -> List[Dict[str, Any]]:
        return [line for line in self.log() if line["message"] == "serving"]

    def wait(self, condition: Callable[[], object], ended: bool = False) -> None:
        """Waits until a condition holds, for at most 30 s, while the process lives, or after it has ended."""
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, self._log.read_text()
            assert (self.process.poll() is not None) == ended, self._log.read_text()
            time.sleep(0.02)

    def call(self, path: str, body: Optional[bytes] = None) -> Any:
        """Status and body of one request."""
        port = self._serving()[0]["http_port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body, timeout=20) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def ready(self) -> bool:
        return bool(self.call("/v2/health/ready")[0] == 200)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signals it and returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A config.properties that leads to the stand-in, which runs while the module's tests do."""
    program = Path(__file__).with_name("fake_torchserve.py")
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE) as fake:
        assert fake.stdout is not None
        port = json.loads(fake.stdout.readline())["port"]
        path = tmp_path_factory.mktemp("config") / "config.properties"
        path.write_text(
            f"inference_address=http://127.0.0.1:{port}\nmanagement_address=http://127.0.0.1:{port}\n"
            "disable_token_authorization=true\n"
        )
        yield path
        fake.kill()


@pytest.fixture
def start(config: Path, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts wrappers, and ends those that are left."""
    started: List[Process] = []

    def starter(*arguments: str, how: List[str] = MODULE, config: Path = config, cwd: Path = tmp_path) -> Process:
        process = Process(how, config, tmp_path / f"log{len(started)}", list(arguments), cwd)
        started.append(process)
        return process

    yield starter
    for process in started:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait(10)


@pytest.mark.parametrize(
    ("how", "cwd"), [(MODULE, ROOT), (SCRIPT, ROOT), (SCRIPT, PACKAGE)], ids=["module", "script", "script in package"]
)
def test_it_serves_and_stops(start: Callable[..., Process], how: List[str], cwd: Path) -> None:
    process = start(how=how, cwd=cwd)
    [serving] = process.serving()
    process.wait(process.ready)
    assert process.call("/v1/models/m:predict", b'{"instances":[0, 0]}') == (200, b'{"predictions":[0,0]}')
    assert serving["grpc_port"] not in (0, None)
    with socket.create_connection(("127.0.0.1", serving["grpc_port"]), 10):
        pass
    assert process.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_flight_is_answered(start: Callable[..., Process], number: int) -> None:
    process = start("--enable_grpc", "false")
    [serving] = process.serving()
    process.wait(process.ready)
    with socket.create_connection(("127.0.0.1", serving["http_port"]), 20) as connection:
        body = b'{"instances":[5.0]}'
        connection.sendall(
            b"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        process.wait(lambda: b"in_flight 1.0" in process.call("/metrics")[1])
        process.process.send_signal(number)
        process.wait(lambda: process.call("/v2/health/ready")[0] == 503)
        assert process.call("/v1/models/m:predict", b'{"instances":[0]}')[0] == 503
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert process.process.wait(30) == 0


def test_draining_ends_at_its_time(start: Callable[..., Process]) -> None:
    process = start("--enable_grpc", "false", "--drain_timeout", "0.2")
    [serving] = process.serving()
    process.wait(process.ready)
    with socket.create_connection(("127.0.0.1", serving["http_port"]), 20) as connection:
        body = b'{"instances":[600]}'
        connection.sendall(
            b"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        process.wait(lambda: b"in_flight 1.0" in process.call("/metrics")[1])
        assert process.stop() == 0
        assert connection.recv(65536).startswith(b"HTTP/1.1 503 ")


def test_server_processes_share_the_ports(start: Callable[..., Process]) -> None:
    process = start("--workers", "2")
    lines = process.serving(2)
    assert len({line["pid"] for line in lines}) == 2
    assert len({(line["http_port"], line["grpc_port"]) for line in lines}) == 1
    # Whichever process answers, it says so when all are ready.
    process.wait(process.ready)
    answered = sum(process.call("/v1/models/m:predict", b'{"instances":[0]}')[0] == 200 for _ in range(20))

    def counted() -> float:
        text = process.call("/metrics")[1].decode()
        found = re.search(
            r'requests_total\{code="200",protocol="http",route="/v1/models/\{model\}:predict"\} (.+)', text
        )
        return float(found.group(1)) if found else 0.0

    # Whichever process answers, it tells of all, of the others a second later.
    process.wait(lambda: counted() == answered == 20)
    assert process.stop() == 0


def test_a_server_process_that_dies_takes_all_down(start: Callable[..., Process]) -> None:
    process = start("--workers", "2", "--enable_grpc", "false")
    victim = process.serving(2)[0]["pid"]
    os.kill(victim, signal.SIGKILL)
    assert process.process.wait(30) == 1


def test_server_processes_end_with_a_parent_that_was_killed(start: Callable[..., Process]) -> None:
    process = start("--workers", "2", "--enable_grpc", "false")
    lines = process.serving(2)
    os.kill(process.process.pid, signal.SIGKILL)
    process.process.wait(30)

    def free() -> bool:
        with socket.socket() as port:
            # As a wrapper that is started anew takes it, but for sharing it with what is left of the old one.
            port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                port.bind(("127.0.0.1", lines[0]["http_port"]))
            except OSError:
                return False
            return True

    process.wait(free, ended=True)


def children(pid: int) -> List[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
@pytest.mark.parametrize("wanted", [1, 2, 4])
def test_a_signal_while_server_processes_start_ends_them_all(start: Callable[..., Process], wanted: int) -> None:
    process = start("--workers", "4", "--enable_grpc", "false")
    process.wait(lambda: len(children(process.process.pid)) >= wanted)
    assert process.stop() == 0
    with socket.socket() as port:
        started = [line["http_port"] for line in process.log() if line["message"] == "serving"]
        port.bind(("127.0.0.1", started[0] if started else 0))


def test_the_gauges_of_a_model_go_with_it_in_all_processes(start: Callable[..., Process], config: Path) -> None:
    process = start("--workers", "2", "--enable_grpc", "false")
    process.serving(2)
    process.wait(process.ready)
    process.wait(lambda: b'model_ready{model="n"} 1.0' in process.call("/metrics")[1])
    address = config.read_text().split("management_address=")[1].split()[0]
    with urllib.request.urlopen(urllib.request.Request(f"{address}/models/n", method="DELETE"), timeout=20):
        pass
    # Each process learns of it by itself; whichever answers, in the end none shows it.
    process.wait(lambda: all(b'"n"' not in process.call("/metrics")[1] for _ in range(20)))
    assert b'model_ready{model="m"} 1.0' in process.call("/metrics")[1]
    assert process.call("/v1/models/n")[0] == 404


#: Serves on a port that somebody else came to listen at after it was bound.
LATE = """
import sys
from kserve_wrapper.core.sockets import bind
from kserve_wrapper.process import run
from kserve_wrapper.settings import Settings
from kserve_wrapper.torchserve.config import load
first = bind("127.0.0.1", 0)
second = bind("127.0.0.1", first.getsockname()[1])
first.listen()
try:
    run(Settings(enable_grpc=sys.argv[2] == "grpc", grpc_port=0), load(sys.argv[1], {}), second, 0)
except OSError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.parametrize("front", ["http", "grpc"])
def test_a_listen_that_fails_ends_the_process_with_the_reason(config: Path, front: str) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", LATE, str(config), front], env=environ, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "refused: " in ended.stderr
    assert "in use" in ended.stderr


def test_a_missing_configuration_is_told(start: Callable[..., Process], tmp_path: Path) -> None:
    process = start(config=tmp_path / "nowhere.properties")
    assert process.process.wait(30) == 2
    assert "nowhere.properties" in (tmp_path / "log0").read_text()


def test_a_port_that_is_taken_is_told(start: Callable[..., Process], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for number, name in enumerate(("--http_port", "--grpc_port")):
            process = start(name, port)
            assert process.process.wait(30) == 2
            assert port in (tmp_path / f"log{number}").read_text()


def test_the_access_log(start: Callable[..., Process]) -> None:
    process = start("--enable_latency_logging", "true", "--enable_grpc", "false")
    process.serving()
    process.wait(process.ready)
    process.call("/v1/models/nobody")
    process.wait(lambda: any(line["message"] == "request" and line["status"] == 404 for line in process.log()))
    [line] = [line for line in process.log() if line.get("path") == "/v1/models/nobody"]
    assert (line["method"], line["route"], len(line["request_id"])) == ("GET", "/v1/models/{model}", 32)


def test_a_certificate_that_is_not_there_is_told(start: Callable[..., Process], tmp_path: Path) -> None:
    process = start("--ssl_certfile", str(tmp_path / "none.pem"), "--enable_grpc", "false")
    assert process.process.wait(30) == 2


def test_tls_for_both_fronts(start: Callable[..., Process], tmp_path: Path) -> None:
    import grpc

    from kserve_wrapper.rpc.messages import load_messages

    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext"]
    subprocess.run(
        [openssl, "req", "-x509", *made, "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    process = start("--ssl_certfile", str(certificate), "--ssl_keyfile", str(key))
    [serving] = process.serving()
    context = ssl.create_default_context(cafile=str(certificate))
    url = f"https://127.0.0.1:{serving['http_port']}/v2/health/live"
    with urllib.request.urlopen(url, timeout=20, context=context) as response:
        assert json.loads(response.read()) == {"live": True}
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{serving['grpc_port']}", credentials) as channel:
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=20)
    assert load_messages().ServerLiveResponse.FromString(live).live
    assert process.stop() == 0
