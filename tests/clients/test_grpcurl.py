"""grpcurl, or where it is not installed its stand-in: JSON over gRPC by the server's own description."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.samples import ROOT, images, predicted
from tests.serving.mixed import png
from tests.serving.servers import Served

SERVICE = "inference.GRPCInferenceService"


def ask(served: Served, method: str, document: Any) -> Any:
    text = json.dumps(document)
    if shutil.which("grpcurl"):
        command = ["grpcurl", "-plaintext", "-d", "@", served.grpc, f"{SERVICE}/{method}"]
    else:
        command = [sys.executable, "-m", "tests.clients.reflecting", served.grpc, f"{SERVICE}.{method}"]
    ran = subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout)


def test_health(served: Served) -> None:
    assert ask(served, "ServerLive", {}) == {"live": True}
    assert ask(served, "ServerReady", {}) == {"ready": True}
    assert ask(served, "ModelReady", {"name": "mnist"}) == {"ready": True}


def test_metadata_tells_the_properties(served: Served) -> None:
    told = ask(served, "ModelMetadata", {"name": "mnist"})
    assert told["inputs"][0]["name"] == "input-0"
    assert "binary_tensor_data" in told["properties"]["extensions"]


@pytest.mark.parametrize(
    "tensor",
    [
        {"shape": [-1], "datatype": "BYTES", "contents": {"bytes_contents": [base64.b64encode(png(3)).decode()]}},
        {"shape": [1, 28, 28], "datatype": "FP32", "contents": {"fp32_contents": (images()[3] / 255).ravel().tolist()}},
        {"shape": [1, 1, 28, 28], "datatype": "UINT8", "contents": {"uint_contents": images()[3].ravel().tolist()}},
    ],
    ids=lambda tensor: tensor["datatype"],
)
def test_samples_in_json_form(served: Served, tensor: dict[str, Any]) -> None:
    answer = ask(served, "ModelInfer", {"model_name": "mnist", "id": "7", "inputs": [{"name": "any", **tensor}]})
    assert (answer["id"], answer["modelName"]) == ("7", "mnist")
    assert answer["outputs"][0]["contents"]["int64Contents"] == [str(predicted()[3])]
