"""Two models by one handler base in one real TorchServe: DenseNet-161 beside mnist, with the handler's metrics."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import shutil
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import pytest
from PIL import Image

from kserve_wrapper.archiver import build
from kserve_wrapper.core.sockets import free_port
from tests.samples import ROOT
from tests.serving.mixed import send, v1_predict
from tests.serving.torchserve_alone import Alone, torchserve_alone

MODELS = ROOT / "model-archiver" / "model-store"
READY_SECONDS = 180


@dataclass(frozen=True)
class Both:
    alone: Alone
    metrics: str

    @property
    def log(self) -> Path:
        return self.alone.log


def module(path: Path) -> Any:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = loaded
    specification.loader.exec_module(loaded)
    return loaded


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:
        body: bytes = response.read()
    return body.decode()


@pytest.fixture(scope="module")
def both(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """DenseNet-161 with random weights, which needs no internet."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(MODELS / "densenet_161", folder / "source" / "densenet_161")
    assert (
        module(MODELS / "densenet_161" / "fetch.py").main(
            ["--random-weights", "--out", str(folder / "source" / "densenet_161")]
        )
        == 0
    )
    build(folder / "source" / "densenet_161", folder / "store")
    shutil.copy(store / "mnist.mar", folder / "store")
    version = {"defaultVersion": True, "minWorkers": 1, "maxWorkers": 1, "batchSize": 1, "maxBatchDelay": 10}
    version["responseTimeout"] = 300
    models = {name: {"1.0": {**version, "marName": f"{name}.mar"}} for name in ("mnist", "densenet_161")}
    port = free_port()
    extra = {
        "model_snapshot": json.dumps({"name": "startup.cfg", "modelCount": 2, "models": models}),
        "metrics_address": f"http://127.0.0.1:{port}",
        "metrics_mode": "prometheus",
        "metrics_config": str(ROOT / "config" / "metrics.yaml"),
    }
    with torchserve_alone(folder / "store", folder / "run", "kserve", 1, extra) as alone:
        wait_ready(alone, "densenet_161")
        yield Both(alone, f"http://127.0.0.1:{port}/metrics")


def wait_ready(alone: Alone, model: str) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        (described,) = json.loads(fetch(f"{alone.management}/models/{model}"))
        if any(worker["status"] == "READY" for worker in described["workers"]):
            return
        time.sleep(0.5)
    raise AssertionError(f"{model} is not ready:\n{alone.log.read_text(errors='replace')[-6000:]}")


def test_densenet_answers_with_names(both: Both) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(picture).save(target, "JPEG")
    image = base64.b64encode(target.getvalue()).decode()
    body = json.dumps({"instances": [{"data": image}, image]}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{both.alone.base}/v1/models/densenet_161:predict", body, headers)
    with urllib.request.urlopen(request, timeout=300) as response:
        first, second = json.load(response)["predictions"]
    assert first == second
    assert not first.isdecimal()


def test_densenet_describes_itself(both: Both) -> None:
    (described,) = json.loads(fetch(f"{both.alone.management}/models/densenet_161/1.0?customized=true"))
    metadata = described["customizedMetadata"]
    metadata = json.loads(metadata) if isinstance(metadata, str) else metadata
    assert metadata["inputs"] == [{"name": "input-0", "datatype": "FP32", "shape": [-1, 3, 224, 224]}]
    assert metadata["outputs"] == [{"name": "predict", "datatype": "BYTES", "shape": [-1]}]


def test_the_handlers_metrics_reach_prometheus(both: Both) -> None:
    def rows() -> float:
        lines = [line for line in fetch(both.metrics).splitlines() if line.startswith("HandlerRows{")]
        return sum(float(line.split()[-1]) for line in lines if 'ModelName="mnist"' in line)

    probe = v1_predict([1, 2, 3])
    sent = 0
    end = time.monotonic() + 60
    while rows() < 6 and time.monotonic() < end:
        probe.check(*send(both.alone.base, probe))
        sent += 3
        time.sleep(0.6)  # a worker reports once a second, while requests come
    assert 6 <= rows() <= sent
    shown = fetch(both.metrics)
    for name in ("HandlerBatches", "HandlerRequests", "HandlerInferenceTime", "PredictionTime", "Requests2XX"):
        assert f"\n{name}{{" in shown, name
