"""Many kinds of requests at once, each with the one answer that is right for it."""

from __future__ import annotations

import base64
import http.client
import io
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from tests.samples import images, predicted

V1 = "/v1/models/mnist"
V2 = "/v2/models/mnist"


@dataclass(frozen=True)
class Probe:
    """A request and the check that its answer, (status, body), must pass."""

    kind: str
    path: str
    body: bytes
    check: Callable[[int, bytes, dict[str, str]], None]
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def png(index: int) -> bytes:
    """Sample ``index`` as a PNG file."""
    target = io.BytesIO()
    Image.fromarray(images()[index]).save(target, "PNG")
    return target.getvalue()


def encoded(index: int) -> str:
    return base64.b64encode(png(index)).decode()


def answers(status: int, **wanted: Any) -> Callable[[int, bytes, dict[str, str]], None]:
    """A check of the status and of some keys of the JSON answer."""

    def check(got: int, body: bytes, _: dict[str, str]) -> None:
        assert got == status, (got, body[:400])
        answer = json.loads(body)
        assert {key: answer.get(key) for key in wanted} == wanted

    return check


def v1_predict(picks: list[int]) -> Probe:
    body = json.dumps({"instances": [{"data": encoded(index)} for index in picks]}).encode()
    return Probe("v1 predict", V1 + ":predict", body, answers(200, predictions=[predicted()[i] for i in picks]))


def v1_nested(picks: list[int]) -> Probe:
    body = json.dumps({"instances": [(images()[index] / 255).tolist() for index in picks]}).encode()
    return Probe("v1 tensors", V1 + ":predict", body, answers(200, predictions=[predicted()[i] for i in picks]))


def v1_bad_row(picks: list[int]) -> Probe:
    instances = [{"data": encoded(index)} for index in picks]
    at = picks[0] % len(picks)
    instances[at] = {"data": base64.b64encode(b"nonsense").decode()}
    body = json.dumps({"instances": instances}).encode()

    def check(status: int, answer: bytes, _: dict[str, str]) -> None:
        assert status == 400, (status, answer[:400])
        assert f"row {at}" in json.loads(answer)["error"]

    return Probe("v1 bad row", V1 + ":predict", body, check)


def v1_explain(picks: list[int]) -> Probe:
    rows = [{"data": encoded(index), "target": index % 10} for index in picks]
    body = json.dumps({"instances": rows}).encode()

    def check(status: int, answer: bytes, _: dict[str, str]) -> None:
        assert status == 200, (status, answer[:400])
        got = np.array(json.loads(answer)["explanations"])
        assert got.shape == (len(picks), 1, 28, 28)
        assert np.isfinite(got).all()
        # Attributions of integrated gradients vanish where the image equals the baseline; so each row is its own.
        assert all(np.abs(one).sum() > 0 for one in got)

    return Probe("v1 explain", V1 + ":explain", body, check)


def v2_answer(picks: list[int], name: str) -> Callable[[int, bytes, dict[str, str]], None]:
    output = {"name": "predict", "shape": [len(picks)], "datatype": "INT64", "data": [predicted()[i] for i in picks]}
    return answers(200, id=name, model_name="mnist", model_version="1.0", outputs=[output])


def v2_bytes(picks: list[int]) -> Probe:
    name = f"bytes-{picks}"
    data = {"name": "x", "shape": [len(picks)], "datatype": "BYTES", "data": [encoded(index) for index in picks]}
    body = json.dumps({"id": name, "inputs": [data]}).encode()
    return Probe("v2 bytes", V2 + "/infer", body, v2_answer(picks, name))


def v2_tensor(picks: list[int]) -> Probe:
    name = f"tensor-{picks}"
    floats = (images()[picks] / 255).astype("float32")
    shape = [len(picks), 1, 28, 28]
    data = {"name": "x", "shape": shape, "datatype": "FP32", "data": floats.ravel().tolist()}
    body = json.dumps({"id": name, "inputs": [data]}).encode()
    return Probe("v2 tensor", V2 + "/infer", body, v2_answer(picks, name))


def v2_binary(picks: list[int]) -> Probe:
    name = f"binary-{picks}"
    raw = images()[picks].tobytes()
    shape = [len(picks), 1, 28, 28]
    size = {"binary_data_size": len(raw)}
    header = {"id": name, "inputs": [{"name": "x", "shape": shape, "datatype": "UINT8", "parameters": size}]}
    head = json.dumps(header).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Probe("v2 binary", V2 + "/infer", head + raw, v2_answer(picks, name), headers)


def v2_bad(picks: list[int]) -> Probe:
    data = {"name": "x", "shape": [len(picks), 3], "datatype": "FP32", "data": [0.5] * 3 * len(picks)}
    body = json.dumps({"id": "bad", "inputs": [data]}).encode()

    def check(status: int, answer: bytes, _: dict[str, str]) -> None:
        assert status == 400, (status, answer[:400])
        assert "28" in json.loads(answer)["error"]

    return Probe("v2 bad shape", V2 + "/infer", body, check)


KINDS = [v1_predict, v1_nested, v1_bad_row, v1_explain, v2_bytes, v2_tensor, v2_binary, v2_bad]


def probes(count: int, seed: int) -> Iterator[Probe]:
    """``count`` probes of one to five rows, every kind in turn."""
    source = random.Random(seed)
    for number in range(count):
        yield KINDS[number % len(KINDS)](source.sample(range(len(images())), source.randint(1, 5)))


def send(base: str, probe: Probe, timeout: float = 60) -> tuple[int, bytes, dict[str, str]]:
    """One request on a connection of its own: (status, body, headers)."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=timeout)
    try:
        connection.request("POST", probe.path, probe.body, probe.headers)
        response = connection.getresponse()
        return response.status, response.read(), {k.lower(): v for k, v in response.getheaders()}
    finally:
        connection.close()


def send_at_once(base: str, batch: list[Probe]) -> list[str]:
    """Send all probes at the same moment; the faults found, as text, [] where every answer is right."""
    start = threading.Barrier(len(batch))

    def one(probe: Probe) -> str:
        start.wait()
        try:
            probe.check(*send(base, probe))
        except (AssertionError, OSError, ValueError) as fault:
            return f"{probe.kind}: {fault!r}"
        return ""

    with ThreadPoolExecutor(len(batch)) as pool:
        return [fault for fault in pool.map(one, batch) if fault]
