"""A handler of one function on real TorchServe, behind each envelope: what it cannot answer is told as what it is."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple
from urllib.parse import quote

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc

from kserve_wrapper.core.sockets import free_port
from scripts.serving import supervised, tail
from tests.serving.servers import Served
from tests.serving.system import until

ARCHIVER = "from model_archiver.model_packaging import generate_model_archive as run; run()"
HANDLER = Path(__file__).parent / "handlers" / "module_handler.py"
#: In the snapshot a model may have a name of any script; the archiver takes none.
MODEL = "größe 数字"
TICKET = "ticket"
SETTINGS = {"max_response_size": "200000", "max_request_size": "50000", "disable_token_authorization": "true"}
NONE = "no envelope"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("module-store")
    config = folder / "model-config.yaml"
    config.write_text("minWorkers: 1\nmaxWorkers: 1\nuseJobTicket: true\n")
    for name, more in (("module", []), (TICKET, ["--config-file", str(config)])):
        names = ["--model-name", name, "--version", "1.0", "--handler", str(HANDLER), "--export-path", str(folder)]
        subprocess.run([sys.executable, "-c", ARCHIVER, *names, *more], check=True)
    return folder


def snapshot(models: Dict[str, str]) -> str:
    version = {"defaultVersion": True, "minWorkers": 1, "maxWorkers": 1, "batchSize": 1, "maxBatchDelay": 5}
    versions = {name: {"1.0": {**version, "responseTimeout": 60, "marName": mar}} for name, mar in models.items()}
    return json.dumps({"name": "startup.cfg", "modelCount": len(models), "models": versions})


@dataclass(frozen=True)
class Module(Served):
    """The handler behind one of TorchServe's envelopes, or none."""

    envelope: str
    management: str
    at_start: str

    @property
    def protocols(self) -> List[str]:
        """Those that reach the handler."""
        return {"kserve": ["v1"], "kservev2": ["v2"]}.get(self.envelope, ["v1", "v2"])

    def ask(self, word: str, protocol: str, model: str = MODEL) -> Tuple[int, bytes, Dict[str, str]]:
        name = quote(model)
        if protocol == "v1":
            return self.raw(f"/v1/models/{name}:predict", json.dumps({"instances": [word]}).encode())
        inputs = [{"name": "x", "shape": [1], "datatype": "BYTES", "data": [word]}]
        return self.raw(f"/v2/models/{name}/infer", json.dumps({"inputs": inputs}).encode())

    def ask_grpc(self, word: str) -> str:
        """The error's code and text; fails where there is none."""
        tensor = triton_grpc.InferInput("x", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([word.encode()], dtype=np.object_))
        client = triton_grpc.InferenceServerClient(self.grpc)
        with client, pytest.raises(triton_grpc.InferenceServerException) as caught:
            client.infer(MODEL, [tensor])
        return f"{caught.value.status()} {caught.value.message()}"


@pytest.fixture(scope="module", params=[NONE, "kserve", "kservev2"])
def module(request: pytest.FixtureRequest, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    http_port, grpc_port, management = free_port(), free_port(), f"http://127.0.0.1:{free_port()}"
    log = tmp_path_factory.mktemp("module") / "served.log"
    models = {MODEL: "module.mar", TICKET: "ticket.mar"}
    settings = {"model_snapshot": snapshot(models), "management_address": management, **SETTINGS}
    environ = {} if request.param == NONE else {"TS_SERVICE_ENVELOPE": request.param}
    with supervised(store, log, http_port, grpc_port, settings, environ=environ) as process:
        base = f"http://127.0.0.1:{http_port}"
        assert process.poll() is None
        yield Module(base, f"127.0.0.1:{grpc_port}", log, request.param, management, tail(log, 10**6))


def error(answer: Tuple[int, bytes, Dict[str, str]]) -> str:
    return str(json.loads(answer[1])["error"])


#: What the handler returned that TorchServe makes no answer of, by envelope, and what the error calls it.
NAMED: Dict[str, Dict[str, str]] = {
    NONE: {
        "dict": "its handler returned a dict;",
        "text": "its handler returned a str;",
        "bytes": "its handler returned a bytes;",
        "array": "its handler returned a numpy.ndarray;",
        "nothing": "its handler returned nothing (None);",
        "two": "its handler returned 2 answers to 1 requests;",
        "one": "answered a number, which is no reply",
        "object": "answered an object with detail, which is no reply",
    },
    "kserve": {
        "bytes": "its handler returned a bytes, which has no JSON form;",
        "set": "its handler returned a set, which has no JSON form;",
        "array": "its handler returned what its envelope fails on (ValueError: The truth value of an array",
        "nothing": "its handler returned nothing (None);",
    },
    "kservev2": {
        "text": "its handler returned what its envelope fails on (IndexError",
        "array": "its handler returned what its envelope fails on (ValueError: The truth value of an array",
        "nothing": "its handler returned nothing (None);",
    },
}


def test_what_a_handler_returned_that_is_no_answer_is_named(module: Module) -> None:
    for word, named in NAMED[module.envelope].items():
        for protocol in module.protocols:
            answer = module.ask(word, protocol)
            assert answer[0] in (500, 502), (word, answer)
            assert named in error(answer), (word, protocol)
            assert "its handler must return" in error(answer) or "it must return a list" in error(answer)


def test_a_handlers_own_4xx_is_the_clients_as_it_is(module: Module) -> None:
    for protocol in module.protocols:
        status, body, headers = module.ask("422", protocol)
        assert (status, headers["content-type"]) == (422, "application/json")
        told: Any = {"detail": [{"loc": 1}]}
        answered = json.loads(body)
        if module.envelope == "kservev2":
            assert answered["outputs"][0]["data"] == [told]
        else:
            assert answered == (told if module.envelope == NONE else {"predictions": [told]})
        status, body, _ = module.ask("404", protocol)
        assert status == 404
        assert b"no such thing" in body
    if "v2" in module.protocols:
        assert "INVALID_ARGUMENT" in module.ask_grpc("422")
        assert '"loc": 1' in module.ask_grpc("422")
        assert "NOT_FOUND" in module.ask_grpc("404")
        assert "no such thing" in module.ask_grpc("404")


def test_a_protocol_that_the_envelope_does_not_read_is_a_400_that_says_which(module: Module) -> None:
    other: Optional[str] = {"kserve": "v2", "kservev2": "v1"}.get(module.envelope)
    if other is None:
        assert {module.ask("one", protocol)[0] for protocol in ("v1", "v2")} == {502}
        return
    for word in ("one", "nothing", "422", "dict"):
        answer = module.ask(word, other)
        assert answer[0] == 400
        assert f"TorchServe's envelope {module.envelope}" in error(answer)
        assert f"reads {module.protocols[0].upper()} (" in error(answer)
    if other == "v2":
        assert "INVALID_ARGUMENT" in module.ask_grpc("one")
        assert "reads V1" in module.ask_grpc("one")


def test_job_tickets_are_served(module: Module) -> None:
    """With them TorchServe takes a request only while a worker waits for one."""
    with urllib.request.urlopen(f"{module.management}/models/{TICKET}", timeout=30) as described:
        assert json.load(described)[0]["useJobTicket"] is True
    wanted = 200 if module.envelope != NONE else 502  # What it answers without an envelope is no reply.
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: module.ask("one", module.protocols[0], TICKET)[0], range(200)))
    assert set(answers) == {wanted}


def test_413_names_the_setting_in_force(module: Module) -> None:
    answer = module.ask("x" * 60_000, module.protocols[0])
    assert answer[0] == 413
    assert "50000 bytes (max_request_size in config.properties)" in error(answer)
    answer = module.ask("x" * (65 * 2**20), module.protocols[0])
    assert answer[0] == 413
    assert "max_body_size, 67108864 bytes" in error(answer)


def test_nothing_at_start_looks_like_a_fault(module: Module) -> None:
    assert "Traceback" not in module.at_start


def test_an_answer_that_is_too_long_is_told_as_that(module: Module) -> None:
    """Last, as it costs the worker."""
    status, body, headers = answer = module.ask("long", module.protocols[0])
    assert status == 413, body
    assert "limit of 200000 bytes (max_response_size in config.properties)" in error(answer)
    assert "retry-after" not in headers

    def back() -> bool:
        """Nobody is told that the model does not load."""
        [entry] = [e for e in json.loads(module.raw("/v2/repository/index", b"{}")[1]) if e["name"] == MODEL]
        assert "does not load" not in entry["reason"]
        return bool(entry["state"] == "READY")

    until(back, "the worker is back")
