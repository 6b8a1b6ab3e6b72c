"""A traced client: its trace goes on through the wrapper, as the SDK's console exporter tells."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from kserve_wrapper.supervisor.derived_config import free_port
from scripts.serving import supervised
from tests.serving.mixed import encoded
from tests.serving.servers import Served

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def traced(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("traced") / "log"
    http_port, grpc_port = free_port(), free_port()
    environ = {"OTEL_TRACES_EXPORTER": "console", "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_SERVICE_NAME": "digits"}
    with supervised(store, log, http_port, grpc_port, environ=environ):
        yield Served(f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", log)


def spans(log: Path) -> dict[str, Any]:
    """Of the client's trace, by name: the exporter writes each as JSON over several lines."""
    found = [json.loads(text) for text in re.findall(r"^\{\n.*?^\}", log.read_text(), re.DOTALL | re.MULTILINE)]
    return {span["name"]: span for span in found if span["context"]["trace_id"] == f"0x{TRACE}"}


def test_a_clients_trace_goes_on(traced: Served) -> None:
    body = json.dumps({"instances": [{"data": encoded(3)}]}).encode()
    status, content, _ = traced.raw(
        "/v1/models/mnist:predict", body, {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    )
    assert status == 200, content
    end = time.monotonic() + 30
    while len(spans(traced.log)) < 3 and time.monotonic() < end:
        time.sleep(0.1)
    told = spans(traced.log)
    assert set(told) == {"predict mnist", "queue", "upstream"}
    request = told["predict mnist"]
    assert request["parent_id"] == "0xb7ad6b7169203331"
    assert request["resource"]["attributes"]["service.name"] == "digits"
    assert told["queue"]["parent_id"] == told["upstream"]["parent_id"] == request["context"]["span_id"]
    assert [link["context"]["span_id"] for link in told["upstream"]["links"]] == [request["context"]["span_id"]]
