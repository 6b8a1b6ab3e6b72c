"""Batching in front of real TorchServe: this project's handler, and a plain one in the stock envelopes."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kserve_wrapper.core.sockets import free_port
from scripts.serving import supervised
from tests.serving.mixed import probes, send_at_once
from tests.serving.servers import Served

ARCHIVER = "from model_archiver.model_packaging import generate_model_archive as run; run()"
HANDLER = Path(__file__).parent / "handlers" / "echo_handler.py"
CLIENTS = 24


@dataclass(frozen=True)
class Stock(Served):
    """The echo handler behind the wrapper, in one of TorchServe's own envelopes."""

    envelope: str


def upstream_requests(served: Served) -> float:
    """How many the wrapper has sent to TorchServe."""
    _, body, _ = served.raw("/metrics")
    lines = [line for line in body.decode().splitlines() if line.startswith("kserve_wrapper_batch_rows_count")]
    return sum(float(line.split()[-1]) for line in lines)


def test_one_page_has_the_metrics_of_wrapper_and_torchserve(served: Served) -> None:
    assert send_at_once(served.base, list(probes(2, seed=1))) == []
    status, body, _ = served.raw("/metrics")
    assert status == 200
    families = list(text_string_to_metric_families(body.decode()))
    names = [family.name for family in families]
    assert len(set(names)) == len(names), "Prometheus refuses a page that has a metric twice"
    samples = {sample.name: sample.value for family in families for sample in family.samples}
    assert samples["kserve_wrapper_torchserve_metrics_up"] == 1
    assert samples["ts_inference_requests_total"] > 0
    assert samples["kserve_wrapper_batch_rows_count"] > 0


def at_once(served: Served, path: str, documents: List[Any]) -> List[Tuple[int, Any]]:
    headers = {"Content-Type": "application/json"}
    with ThreadPoolExecutor(len(documents)) as pool:
        return list(pool.map(lambda d: served.exchange(path, json.dumps(d).encode(), headers), documents))


def test_mixed_requests_share_batches_and_get_their_own_answers(served: Served) -> None:
    before = upstream_requests(served)
    assert send_at_once(served.base, list(probes(96, seed=4))) == []
    assert 0 < upstream_requests(served) - before < 96


@pytest.fixture(scope="module")
def echo_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("echo-store")
    arguments = ["--model-name", "echo", "--version", "1.0", "--handler", str(HANDLER), "--export-path", str(folder)]
    subprocess.run([sys.executable, "-c", ARCHIVER, *arguments], check=True)
    return folder


@pytest.fixture(scope="module", params=["kserve", "kservev2"])
def stock(
    request: pytest.FixtureRequest, echo_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stock]:
    """The echo handler in one of TorchServe's own envelopes, with the wrapper in front."""
    version = {"defaultVersion": True, "marName": "echo.mar", "minWorkers": 1, "maxWorkers": 1}
    version.update({"batchSize": 1, "maxBatchDelay": 10, "responseTimeout": 60})
    models = {"name": "startup.cfg", "modelCount": 1, "models": {"echo": {"1.0": version}}}
    http_port, grpc_port = free_port(), free_port()
    log = tmp_path_factory.mktemp("stock") / "served.log"
    settings = {"model_snapshot": json.dumps(models)}
    environ = {"TS_SERVICE_ENVELOPE": request.param}
    wrapper = ["--independent_rows", "echo"]
    with supervised(echo_store, log, http_port, grpc_port, settings, wrapper, environ):
        yield Stock(f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", log, request.param)


def documents_for(stock: Stock, bad: int) -> Tuple[str, List[Any]]:
    """Requests of one to three rows, each row of its own content; number ``bad`` has a bad one."""
    rows = [[f"{number}.{row}" for row in range(rows_of(number))] for number in range(CLIENTS)]
    if bad >= 0:
        rows[bad][-1] = "bad"
    if stock.envelope == "kserve":
        return "/v1/models/echo:predict", [{"instances": [{"data": row} for row in own]} for own in rows]
    tensors = [
        {"name": f"name-{n}", "datatype": "BYTES", "shape": [len(own)], "data": own} for n, own in enumerate(rows)
    ]
    return "/v2/models/echo/infer", [{"inputs": [{**tensor, "shape": [-1]}]} for tensor in tensors]


def rows_of(number: int) -> int:
    return 1 + number % 3


def check_answer(stock: Stock, number: int, answer: Any) -> None:
    own = [f"echo {number}.{row}" for row in range(rows_of(number))]
    if stock.envelope == "kserve":
        assert answer["predictions"] == own
    else:
        outputs = [(output["name"], output["shape"], output["data"]) for output in answer["outputs"]]
        assert outputs == [(f"name-{number}", [len(own)], own)]


def test_handlers_that_their_operator_declares_share_batches_in_stock_envelopes(stock: Stock) -> None:
    path, documents = documents_for(stock, bad=-1)
    before = upstream_requests(stock)
    for number, (status, answer) in enumerate(at_once(stock, path, documents)):
        assert status == 200, answer
        check_answer(stock, number, answer)
    assert upstream_requests(stock) - before < CLIENTS


@pytest.mark.parametrize("bad", [0, 13])
def test_only_the_request_at_fault_fails_in_stock_envelopes(stock: Stock, bad: int) -> None:
    path, documents = documents_for(stock, bad)
    for number, (status, answer) in enumerate(at_once(stock, path, documents)):
        if number == bad:
            assert (status, list(answer)) == (500, ["error"])
            assert "ValueError" not in answer["error"]
        else:
            assert status == 200, answer
            check_answer(stock, number, answer)
