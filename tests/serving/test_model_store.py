"""A directory that `python -m kserve_wrapper.modelstore write` made, served by the command that the image runs."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cold_start import answers, pod
from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.modelstore import check, write
from scripts.walkthrough import load

PATIENCE = 180.0


def post(url: str, document: Any) -> Any:
    request = urllib.request.Request(url, data=json.dumps(document).encode())
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


@pytest.mark.parametrize("protocol", ["grpc-v2"])
def test_a_written_directory_is_served_in_every_protocol(store: Path, tmp_path: Path, protocol: str) -> None:
    """The configured protocol chooses the envelope of handlers without one; this project's answers all the same."""
    models, log = tmp_path / "models", tmp_path / "log"
    write(models, [store / "mnist.mar"], protocol)
    assert check(models, protocol) == []
    ports = [free_port() for _ in range(7)]
    base = f"http://127.0.0.1:{ports[0]}"
    with pod(models, ports, log) as process:
        deadline = time.monotonic() + PATIENCE
        while not answers(f"{base}/v2/health/ready"):
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
            time.sleep(0.1)
        assert post(f"{base}/v1/models/mnist:predict", load("v1_mnist.json")) == {"predictions": [2]}
        told = post(f"{base}/v2/models/mnist/versions/1.0/infer", load("mnist_v2_tensor.json"))
    assert (told["model_name"], told["model_version"]) == ("mnist", "1.0")
    assert [output["name"] for output in told["outputs"]] == ["predict"]
    assert process.returncode == 0
