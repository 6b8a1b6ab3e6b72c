"""The example of a transformer, as a process of its own before the wrapper: the same answers as without it."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator
from urllib.parse import urlsplit

import pytest
from PIL import Image

from kserve_wrapper.core.probe import answers
from kserve_wrapper.supervisor.derived_config import free_port
from tests.samples import images, predicted
from tests.unit.deploy.manifests import CONFIG

if TYPE_CHECKING:
    from tests.serving.servers import Served

LIMIT = 90.0


@pytest.fixture(scope="module")
def transformer(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    # Not imported here: its protocol messages cannot live beside tritonclient's.
    if importlib.util.find_spec("kserve") is None:
        pytest.skip("kserve is not installed: the transformer is built on it")
    port, log = free_port(), tmp_path_factory.mktemp("transformer") / "log"
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(CONFIG / "kserve" / "transformer" / "transformer.py"), "--model_name", "mnist"]
    command += ["--predictor_host", urlsplit(served.base).netloc, "--predictor_protocol", "v2"]
    command += ["--http_port", str(port), "--enable_grpc", "false"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait(f"{base}/v2/health/live", process, log)
        yield base
    finally:
        process.terminate()
        process.wait(30)


def wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and process.poll() is None:
        if answers(url):
            return
        time.sleep(0.2)
    raise AssertionError(log.read_text(errors="replace")[-2000:])


def post(base: str, document: Any) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"{base}/v1/models/mnist:predict", json.dumps(document).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_pictures_through_the_transformer_are_read_as_without_it(transformer: str, served: Served) -> None:
    instances = []
    for pixels in images()[:8]:
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "PNG")
        instances.append({"data": base64.b64encode(encoded.getvalue()).decode()})
    assert post(transformer, {"instances": instances}) == (200, {"predictions": predicted()[:8]})
    assert served.post("/v1/models/mnist:predict", {"instances": instances}) == {"predictions": predicted()[:8]}


@pytest.mark.parametrize("document", [{"instances": []}, {"instances": [{"data": "bm8="}]}, {"instances": [1]}])
def test_a_mistake_is_the_clients(transformer: str, document: Any) -> None:
    status, answer = post(transformer, document)
    assert status == 400
    assert "instances" in str(answer) or "row 0" in str(answer)
