"""What is seen from outside: metrics and logs."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kserve_wrapper.httpd.messages import Request
from kserve_wrapper.rest import access_log
from kserve_wrapper.settings import Settings
from kserve_wrapper.telemetry import logs
from kserve_wrapper.telemetry.metrics import Metrics, ModelState
from kserve_wrapper.torchserve.scrape import FRESH, TorchServeMetrics
from kserve_wrapper.upstream import address
from tests.unit.kserve_wrapper.fakes import FakeChannel, Front


def families(metrics: Metrics) -> Dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(metrics.expose().decode())}


def test_metrics_parse_and_keep_to_the_conventions() -> None:
    metrics = Metrics()
    metrics.count_request("http", "/v2", "200", 0.01)
    metrics.count_upstream_error(503)
    metrics.count_dropped("full")
    metrics.follow_models(lambda: [ModelState("m", True, 2)])
    found = families(metrics)
    for name, family in found.items():
        assert name.startswith("kserve_wrapper_")
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram")
        assert ("seconds" in name) == ("duration" in name)
    [request] = [s for s in found["kserve_wrapper_requests"].samples if s.name.endswith("_total")]
    assert (request.labels, request.value) == ({"protocol": "http", "route": "/v2", "code": "200"}, 1.0)
    assert found["kserve_wrapper_model_ready"].samples[0].labels == {"model": "m"}
    assert found["kserve_wrapper_slots"].samples[0].value == 2


def test_the_gauges_of_a_model_go_with_it() -> None:
    metrics, served = Metrics(), [ModelState("m", True, 2), ModelState("n", False, 0)]
    metrics.follow_models(lambda: served)

    def shown() -> Dict[str, Dict[str, float]]:
        found = families(metrics)
        names = ("kserve_wrapper_model_ready", "kserve_wrapper_slots")
        return {name: {s.labels["model"]: s.value for s in found[name].samples} for name in names}

    assert shown() == {
        "kserve_wrapper_model_ready": {"m": 1, "n": 0},
        "kserve_wrapper_slots": {"m": 2, "n": 0},
    }
    served.pop()
    assert shown() == {"kserve_wrapper_model_ready": {"m": 1}, "kserve_wrapper_slots": {"m": 2}}


def test_stages_are_timed() -> None:
    front = Front()
    front.call("POST", "/v1/models/mnist:predict", {"instances": [1]})
    front.call("POST", "/v1/models/mnist:predict", b"nonsense")
    samples = families(front.metrics)["kserve_wrapper_stage_duration_seconds"].samples
    counts = {s.labels["stage"]: s.value for s in samples if s.name.endswith("_count")}
    assert (counts["decode"], counts["encode"]) == (2.0, 1.0)


def test_the_metrics_route() -> None:
    answer = Front().call("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert b"kserve_wrapper_stage_duration_seconds_bucket" in answer.body


def test_metrics_without_torchserve_are_the_wrappers_and_say_so() -> None:
    with socket.socket() as held:  # bound, not listening: nobody else takes the port, nobody answers
        held.bind(("127.0.0.1", 0))
        nowhere = address.parse(f"http://127.0.0.1:{held.getsockname()[1]}", "metrics")
        front = Front(torchserve=TorchServeMetrics(nowhere))
        answer = front.call("GET", "/metrics")
    assert answer.status == 200
    samples = {family.name: family.samples for family in text_string_to_metric_families(answer.body.decode())}
    assert samples["kserve_wrapper_torchserve_metrics_up"][0].value == 0
    assert "kserve_wrapper_requests" in samples


def test_many_readers_of_the_metrics_ask_torchserve_once() -> None:
    now, asked = 0.0, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        await asyncio.sleep(0.01)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\nts_asked_total 1")
        await writer.drain()
        writer.close()

    async def main() -> None:
        nonlocal now
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            metrics = TorchServeMetrics(address.parse(f"http://127.0.0.1:{port}", "metrics"), clock=lambda: now)
            first = asyncio.ensure_future(metrics.text())
            await asyncio.sleep(0)
            others = asyncio.gather(*[metrics.text() for _ in range(100)])
            first.cancel()
            assert set(await others) == {b"ts_asked_total 1\n"}
            now = FRESH - 0.01
            assert await metrics.text() == b"ts_asked_total 1\n"
            assert asked == 1
            now = FRESH
            await metrics.text()
            assert asked == 2

    asyncio.run(main())


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[List[str]]:
    """What the access log writes, as formatted."""
    written: List[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    handler = Handler()
    handler.setFormatter(logs.JsonFormatter())
    monkeypatch.setattr(access_log.access_logger, "handlers", [handler])
    monkeypatch.setattr(access_log.access_logger, "propagate", False)
    access_log.access_logger.setLevel(logging.INFO)
    yield written
    access_log.access_logger.setLevel(logging.NOTSET)


def request() -> Request:
    headers = [(b"x-request-id", b"me"), (b"traceparent", b"00-1-2-01"), (b"authorization", b"secret")]
    return Request(FakeChannel(), "GET", b"/v2", dict(headers), "10.0.0.1")


def test_the_access_log_is_json(lines: List[str]) -> None:
    access_log.AccessLog().write(request(), "/v2", 200, 0.0123, 45)
    content = json.loads(lines[0])
    assert content["request_id"] == "me"
    assert (content["status"], content["milliseconds"], content["bytes"]) == (200, 12.3, 45)
    assert (content["client"], content["traceparent"]) == ("10.0.0.1", "00-1-2-01")
    assert "secret" not in lines[0]


def test_the_access_log_in_a_form_of_ones_own(lines: List[str]) -> None:
    access_log.AccessLog('%(h)s "%(r)s" %(s)s %(D)s %(request_id)s %(unknown)s').write(request(), "/v2", 200, 0.01, 4)
    assert json.loads(lines[0])["message"] == '10.0.0.1 "GET /v2 HTTP/1.1" 200 10000 me -'


def test_a_log_line_cannot_be_forged() -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, 'a\n{"level": "ERROR"}', (), None)
    line = logs.JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["level"] == "INFO"


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_logging_from_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log.{suffix}"
    path.write_text('{"version": 1, "disable_existing_loggers": false, "loggers": {"of.a.test": {"level": "ERROR"}}}')
    logs.configure(Settings(log_config_file=str(path)))
    assert logging.getLogger("of.a.test").level == logging.ERROR


@pytest.mark.parametrize("content", [None, "{", '{"version": 2}', "[]"])
def test_a_wrong_logging_file_is_named(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "log.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=r"log\.json"):
        logs.configure(Settings(log_config_file=str(path)))


def test_a_wrong_level_is_named() -> None:
    with pytest.raises(ValueError, match="loud"):
        logs.configure(Settings(log_level="loud"))
