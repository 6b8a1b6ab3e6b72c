"""What a client gets in company is what it gets alone: plain handlers on real TorchServe, behind its V1 envelope."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from kserve_wrapper.core.sockets import free_port
from scripts.serving import supervised
from tests.serving.handlers.plain_handlers import MODELS
from tests.serving.servers import Served

ARCHIVER = "from model_archiver.model_packaging import generate_model_archive as run; run()"
HANDLERS = Path(__file__).parent / "handlers" / "plain_handlers.py"
#: Those that answer each row by itself, whatever else they do: their operator says so.
BY_ROW = ("own-error", "stacks", "dies")
CLIENTS = 16

Question = Tuple[str, List[Any], Dict[str, str]]


def snapshot(batch_size: int) -> str:
    version = {"defaultVersion": True, "minWorkers": 1, "maxWorkers": 1, "batchSize": batch_size}
    version.update({"maxBatchDelay": 5, "responseTimeout": 60})
    models = {name: {"1.0": {**version, "marName": f"{name}.mar"}} for name in MODELS}
    return json.dumps({"name": "startup.cfg", "modelCount": len(models), "models": models})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain-store")
    for name in MODELS:
        arguments = ["--model-name", name, "--version", "1.0", "--handler", str(HANDLERS), "--export-path", str(folder)]
        subprocess.run([sys.executable, "-c", ARCHIVER, *arguments], check=True)
    return folder


@pytest.fixture(scope="module", params=[1, 4], ids=["batchSize 1", "batchSize 4"])
def plain(request: pytest.FixtureRequest, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    http_port, grpc_port = free_port(), free_port()
    log = tmp_path_factory.mktemp("plain") / "served.log"
    settings = {"model_snapshot": snapshot(request.param)}
    wrapper = ["--independent_rows", ",".join(BY_ROW)]
    environ = {"TS_SERVICE_ENVELOPE": "kserve"}
    with supervised(store, log, http_port, grpc_port, settings, wrapper, environ):
        yield Served(f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", log)


def questions(model: str, seed: int, bad: float) -> List[Question]:
    """Requests of one to three rows of one to three numbers; some of them have a row that the handler stumbles over."""
    chance = random.Random(f"{model} {seed}")
    asked: List[Question] = []
    for number in range(CLIENTS):
        width = chance.randint(1, 3)
        rows: List[List[int]] = [[100 * number + row] * width for row in range(chance.randint(1, 3))]
        if chance.random() < bad:
            rows[-1] = [-chance.choice([404, 422, 500, 503, 504])] * width
        asked.append((model, rows, {"x-tenant": chance.choice("ab"), "Cookie": "secret"}))
    return asked


def ask(served: Served, question: Question) -> Tuple[int, Any]:
    model, rows, headers = question
    body = json.dumps({"instances": rows}).encode()
    return served.exchange(f"/v1/models/{model}:predict", body, {"Content-Type": "application/json", **headers})


@pytest.mark.parametrize("model", [name for name in MODELS if name != "dies"])
def test_what_a_client_gets_in_company_is_what_it_gets_alone(plain: Served, model: str) -> None:
    for seed in range(3):
        asked = questions(model, seed, bad=0.2)
        alone = [ask(plain, question) for question in asked]
        with ThreadPoolExecutor(CLIENTS) as pool:
            together = list(pool.map(lambda question: ask(plain, question), asked))
        assert together == alone


def test_what_the_handlers_answer_is_their_own(plain: Served) -> None:
    """Else the test above would hold for a server that answers everybody the same error."""
    json_type = {"x-tenant": "a", "cookie": "secret"}
    assert ask(plain, ("twice", [[7], [8]], {})) == (200, {"predictions": [7, -7]})
    assert ask(plain, ("count", [[7], [8]], {})) == (200, {"predictions": [2, 2]})
    assert ask(plain, ("object", [[7], [8]], {})) == (200, {"predictions": {"sum": 15}})
    assert ask(plain, ("tenant", [[7]], json_type)) == (200, {"predictions": [["a", None]]})
    assert ask(plain, ("own-error", [[7, 1]], {})) == (200, {"predictions": [8]})
    assert [ask(plain, ("own-error", [[-code]], {}))[0] for code in (404, 422, 503)] == [404, 422, 503]
    assert ask(plain, ("stacks", [[7], [8, 9]], {}))[0] == 500


def test_who_ends_the_worker_ends_nobody_else(plain: Served) -> None:
    asked = questions("dies", 0, bad=0.0)
    alone = [ask(plain, question) for question in asked]
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        poison = pool.submit(ask, plain, ("dies", [[-1]], {}))
        together = list(pool.map(lambda question: ask(plain, question), asked))
        assert poison.result()[0] == 503
    assert together == alone
