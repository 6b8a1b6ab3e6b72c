"""curl, with the kinds of requests that the samples of KServe and TorchServe hold, each built here from its facts."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.samples import images, predicted
from tests.serving.mixed import encoded, png
from tests.serving.servers import Served

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

IMAGE = encoded(3)
PIXELS = (images()[3] / 255).astype(np.float32)
#: Normalised with MNIST's mean and deviation, as KServe's image transformer sends its tensors.
NORMALISED = ((PIXELS - 0.1307) / 0.3081).reshape(1, 28, 28)


def bytes_input(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "4b7c7d4a-51e4-43c8-af61-04639f6ef4bc", "shape": -1, "datatype": "BYTES", "data": IMAGE}
    return {"id": "d3b15cad-50a2-4eaf-80ce-8b0a428bd298", "inputs": [{**tensor, **changes}]}


def tensor_input(datatype: str = "FP32", shape: Any = (1, 28, 28), **changes: Any) -> dict[str, Any]:
    tensor = {"name": "input-0", "shape": list(shape), "datatype": datatype, "data": PIXELS.ravel().tolist()}
    return {"inputs": [{**tensor, **changes}]}


def without_data(document: dict[str, Any]) -> dict[str, Any]:
    inputs = [{key: value for key, value in entry.items() if key != "data"} for entry in document["inputs"]]
    return {**document, "model_name": "mnist", "inputs": inputs}


SAMPLES = {
    "V1, an image": ("/v1/models/mnist:predict", {"instances": [{"data": IMAGE}]}),
    "V1, an image under b64": ("/v1/models/mnist:predict", {"instances": [{"image_bytes": {"b64": IMAGE}}]}),
    "V2, one text and -1": ("/v2/models/mnist/infer", bytes_input()),
    "V2, a list and -1": ("/v2/models/mnist/infer", bytes_input(data=[IMAGE])),
    "V2, a list and [-1]": ("/v2/models/mnist/infer", bytes_input(shape=[-1], data=[IMAGE])),
    "V2, a list and []": ("/v2/models/mnist/infer", bytes_input(shape=[], data=[IMAGE])),
    "V2, a list and a bare 1": ("/v2/models/mnist/infer", bytes_input(shape=1, data=[IMAGE])),
    "V2, nested numbers": ("/v2/models/mnist/infer", tensor_input(data=PIXELS[None].tolist())),
    "V2, flat numbers": ("/v2/models/mnist/infer", tensor_input()),
    "V2, FP64": ("/v2/models/mnist/infer", tensor_input("FP64")),
    "V2, BF16": ("/v2/models/mnist/infer", tensor_input("BF16")),
    "V2, UINT8": ("/v2/models/mnist/infer", tensor_input("UINT8", data=images()[3].ravel().tolist())),
    "V2, already normalised": (
        "/v2/models/mnist/infer",
        {**tensor_input(data=NORMALISED.ravel().tolist()), "parameters": {"normalized": True}},
    ),
    "gRPC's JSON, an image": (
        "/v2/models/mnist/infer",
        without_data(bytes_input(shape=[-1], contents={"bytes_contents": [base64.b64encode(png(3)).decode()]})),
    ),
    "gRPC's JSON, numbers": (
        "/v2/models/mnist/infer",
        without_data(tensor_input(contents={"fp32Contents": PIXELS.ravel().tolist()})),
    ),
}


def curl(*arguments: str, body: bytes = b"") -> tuple[int, bytes]:
    command = ["curl", "-sS", "-w", "\n%{http_code}", *arguments]
    ran = subprocess.run(command, input=body, capture_output=True, timeout=60)
    content, _, status = ran.stdout.rpartition(b"\n")
    assert status, ran.stderr
    return int(status), content


def digit(content: bytes) -> Any:
    answer = json.loads(content)
    return answer["predictions"] if "predictions" in answer else answer["outputs"][0]["data"]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kind_of_sample_is_answered(served: Served, name: str) -> None:
    path, document = SAMPLES[name]
    status, content = curl(served.base + path, "-d", "@-", body=json.dumps(document).encode())
    assert status == 200, content
    assert digit(content) == [predicted()[3]]


@pytest.mark.parametrize("path", ["/v1/models/mnist:explain", "/v2/models/mnist/explain"])
def test_explanations(served: Served, path: str) -> None:
    document = {"instances": [{"data": IMAGE}]} if path.startswith("/v1") else bytes_input()
    status, content = curl(served.base + path, "-d", "@-", body=json.dumps(document).encode())
    assert status == 200, content
    answer = json.loads(content)
    explained = answer["explanations"][0] if "explanations" in answer else answer["outputs"][0]["data"]
    assert np.array(explained).size == 784


def test_a_file_of_binary_tensors(served: Served, tmp_path: Path) -> None:
    tensor = {"name": "input-0", "shape": [1, 1, 28, 28], "datatype": "UINT8", "parameters": {"binary_data_size": 784}}
    head = json.dumps({"inputs": [tensor]}).encode()
    file = tmp_path / "body"
    file.write_bytes(head + images()[3].tobytes())
    length = f"Inference-Header-Content-Length: {len(head)}"
    status, content = curl(f"{served.base}/v2/models/mnist/infer", "-H", length, "--data-binary", f"@{file}")
    assert (status, digit(content)) == (200, [predicted()[3]])


def test_an_error_names_the_input_as_the_client_did(served: Served) -> None:
    document = tensor_input(name="mine", shape=[1, 3], data=[0.1, 0.2, 0.3])
    status, content = curl(f"{served.base}/v2/models/mnist/infer", "-d", "@-", body=json.dumps(document).encode())
    assert status == 400
    assert b"input-0" not in content, content
