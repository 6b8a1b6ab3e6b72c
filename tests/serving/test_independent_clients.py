"""Independent clients, through the wrapper to real TorchServe: tritonclient and KServe's own SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Iterator

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.samples import ROOT, images, predicted
from tests.serving.mixed import png
from tests.serving.servers import Served

FLOATS = (images()[:5, None] / 255).astype(np.float32)


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[Any]:
    client = triton_http.InferenceServerClient(served.base.removeprefix("http://"), concurrency=4)
    yield client
    client.close()


@pytest.fixture(scope="module")
def grpc(served: Served) -> Iterator[Any]:
    client = triton_grpc.InferenceServerClient(served.grpc)
    yield client
    client.close()


@pytest.fixture(scope="module")
def kserve(served: Served) -> Any:
    command = [sys.executable, "-m", "tests.serving.kserve_client", served.base, served.grpc]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout)


def tensor(library: Any, array: np.ndarray[Any, Any], datatype: str, **how: Any) -> Any:
    given = library.InferInput("input-0", list(array.shape), datatype)
    given.set_data_from_numpy(array, **how)
    return given


@pytest.mark.parametrize("binary_in", [True, False], ids=["binary in", "JSON in"])
@pytest.mark.parametrize("binary_out", [True, False], ids=["binary out", "JSON out"])
def test_triton_http_tensor(http: Any, binary_in: bool, binary_out: bool) -> None:
    wanted = [triton_http.InferRequestedOutput("predict", binary_data=binary_out)]
    given = [tensor(triton_http, FLOATS, "FP32", binary_data=binary_in)]
    answer = http.infer("mnist", given, outputs=wanted, request_id="seven")
    assert answer.as_numpy("predict").tolist() == predicted()[:5]
    assert answer.as_numpy("predict").dtype == np.int64
    assert answer.get_response()["id"] == "seven"


def test_triton_http_bytes_and_uint8(http: Any) -> None:
    files = np.array([png(index) for index in range(4)], dtype=np.object_)
    assert http.infer("mnist", [tensor(triton_http, files, "BYTES")]).as_numpy("predict").tolist() == predicted()[:4]
    pixels = images()[:4, None]
    assert http.infer("mnist", [tensor(triton_http, pixels, "UINT8")]).as_numpy("predict").tolist() == predicted()[:4]


def test_triton_http_health_and_metadata(http: Any) -> None:
    assert http.is_server_live()
    assert http.is_server_ready()
    assert http.is_model_ready("mnist")
    assert http.is_model_ready("mnist", "1.0")
    assert http.get_server_metadata()["name"]
    metadata = http.get_model_metadata("mnist")
    assert metadata["versions"] == ["1.0"]
    assert metadata["platform"].startswith("pytorch_")
    assert metadata["inputs"][0]["shape"] == [-1, 1, 28, 28]
    assert metadata["outputs"][0]["name"] == "predict"


def test_triton_http_error(http: Any) -> None:
    with pytest.raises(triton_http.InferenceServerException, match="28"):
        http.infer("mnist", [tensor(triton_http, np.zeros((1, 3), np.float32), "FP32")])


def test_triton_grpc_tensor_and_bytes(grpc: Any) -> None:
    answer = grpc.infer("mnist", [tensor(triton_grpc, FLOATS, "FP32")], request_id="eight", model_version="1.0")
    assert answer.as_numpy("predict").tolist() == predicted()[:5]
    assert answer.get_response().id == "eight"
    assert answer.get_response().model_version == "1.0"
    files = np.array([png(index) for index in range(4)], dtype=np.object_)
    assert grpc.infer("mnist", [tensor(triton_grpc, files, "BYTES")]).as_numpy("predict").tolist() == predicted()[:4]


def test_triton_grpc_health_and_metadata(grpc: Any) -> None:
    assert grpc.is_server_live()
    assert grpc.is_server_ready()
    assert grpc.is_model_ready("mnist")
    assert grpc.get_server_metadata().name
    assert list(grpc.get_model_metadata("mnist").inputs[0].shape) == [-1, 1, 28, 28]


@pytest.mark.parametrize(
    ("model", "array", "status"),
    [("mnist", np.zeros((1, 3), np.float32), "INVALID_ARGUMENT"), ("nobody", FLOATS, "NOT_FOUND")],
)
def test_triton_grpc_errors_are_status_codes(grpc: Any, model: str, array: Any, status: str) -> None:
    with pytest.raises(triton_grpc.InferenceServerException) as caught:
        grpc.infer(model, [tensor(triton_grpc, array, "FP32")])
    assert status in str(caught.value.status())


def test_kserve_health(kserve: Any) -> None:
    asked = [key for key in kserve if "live" in key or "ready" in key]
    assert len(asked) == 8
    assert all(kserve[key] for key in asked)


def test_kserve_v1(kserve: Any) -> None:
    assert kserve["v1 predict"] == {"predictions": predicted()[:2]}
    assert kserve["v1 explain"] == 2


@pytest.mark.parametrize(
    ("case", "identifier", "rows"),
    [("v2 json", "a", 3), ("v2 binary", "b", 3), ("v2 bytes", "c", 2), ("grpc typed", "d", 3), ("grpc raw", "e", 3)],
)
def test_kserve_v2(kserve: Any, case: str, identifier: str, rows: int) -> None:
    assert kserve[case] == {"id": identifier, "outputs": {"predict": predicted()[:rows]}}
