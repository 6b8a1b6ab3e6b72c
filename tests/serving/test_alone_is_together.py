"""What a client gets in company is what it gets alone: plain handlers on real TorchServe, behind its envelopes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from kserve_wrapper.core.sockets import free_port
from scripts.serving import supervised
from tests.faults.figures import pick, record
from tests.serving.handlers.plain_handlers import MODELS
from tests.serving.servers import Served

ARCHIVER = "from model_archiver.model_packaging import generate_model_archive as run; run()"
HANDLERS = Path(__file__).parent / "handlers" / "plain_handlers.py"
#: Those that answer each row by itself, whatever else they do: their operator says so.
BY_ROW = ("own-error", "stacks", "dies")
CLIENTS = 16
#: Rounds of CLIENTS requests for each model and system, each sent alone and in company: 100,000 in the long form.
ROUNDS = pick(2, 175)

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


@dataclass(frozen=True)
class Plain(Served):
    """The handlers behind one of TorchServe's envelopes."""

    envelope: str
    batch_size: int


@pytest.fixture(scope="module", params=[("kserve", 1), ("kserve", 4), ("kservev2", 1)], ids=str)
def plain(request: pytest.FixtureRequest, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    envelope, batch_size = request.param
    http_port, grpc_port = free_port(), free_port()
    log = tmp_path_factory.mktemp("plain") / "served.log"
    settings = {"model_snapshot": snapshot(batch_size)}
    wrapper = ["--independent_rows", ",".join(BY_ROW)]
    environ = {"TS_SERVICE_ENVELOPE": envelope}
    with supervised(store, log, http_port, grpc_port, settings, wrapper, environ):
        yield Plain(f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", log, envelope, batch_size)


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


def ask(plain: Plain, question: Question) -> Tuple[int, Any]:
    """Status and answer; of a V2 answer what is not made up for it."""
    model, rows, headers = question
    headers = {"Content-Type": "application/json", **headers}
    if plain.envelope == "kserve":
        return plain.exchange(f"/v1/models/{model}:predict", json.dumps({"instances": rows}).encode(), headers)
    inputs = [
        {"name": f"row-{number}", "datatype": "FP32", "shape": [len(row)], "data": row}
        for number, row in enumerate(rows)
    ]
    status, answer = plain.exchange(f"/v2/models/{model}/infer", json.dumps({"inputs": inputs}).encode(), headers)
    return status, answer.get("outputs", answer)


@pytest.mark.parametrize("model", [name for name in MODELS if name != "dies"])
def test_what_a_client_gets_in_company_is_what_it_gets_alone(plain: Plain, model: str) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        for seed in range(ROUNDS):
            asked = questions(model, seed, bad=0.2)
            alone = [ask(plain, question) for question in asked]
            together = list(pool.map(lambda question: ask(plain, question), asked))
            assert together == alone
    record(
        1,
        f"plain handler “{model}” behind {plain.envelope}, batchSize {plain.batch_size}: in company as alone",
        {"requests": 2 * ROUNDS * CLIENTS, "at_once": CLIENTS, "different": 0},
    )


def test_what_the_handlers_answer_is_their_own(plain: Plain) -> None:
    """Else the test above would hold for a server that answers everybody the same error."""
    if plain.envelope == "kservev2":
        status, outputs = ask(plain, ("count", [[7], [8]], {}))
        assert (status, [output["data"] for output in outputs]) == (200, [[2], [2]])
        status, outputs = ask(plain, ("stacks", [[7, 1], [8, 2]], {}))
        assert (status, [output["data"] for output in outputs]) == (200, [[8], [10]])
        assert ask(plain, ("stacks", [[7], [8, 9]], {}))[0] == 500
        return
    headers = {"x-tenant": "a", "cookie": "secret"}
    assert ask(plain, ("twice", [[7], [8]], {})) == (200, {"predictions": [7, -7]})
    assert ask(plain, ("count", [[7], [8]], {})) == (200, {"predictions": [2, 2]})
    assert ask(plain, ("object", [[7], [8]], {})) == (200, {"predictions": {"sum": 15}})
    assert ask(plain, ("tenant", [[7]], headers)) == (200, {"predictions": [["a", None]]})
    assert ask(plain, ("own-error", [[7, 1]], {})) == (200, {"predictions": [8]})
    assert [ask(plain, ("own-error", [[-code]], {}))[0] for code in (404, 422, 503)] == [404, 422, 503]
    assert ask(plain, ("stacks", [[7], [8, 9]], {}))[0] == 500


def test_who_ends_the_worker_ends_nobody_else(plain: Plain) -> None:
    asked = questions("dies", 0, bad=0.0)
    alone = [ask(plain, question) for question in asked]
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        poison = pool.submit(ask, plain, ("dies", [[-1]], {}))
        together = list(pool.map(lambda question: ask(plain, question), asked))
        assert poison.result()[0] == 503
    assert together == alone
