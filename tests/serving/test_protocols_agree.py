"""The same rows give the same answers by V1, V2 JSON, V2 binary, gRPC typed and gRPC raw, batched or not."""

from __future__ import annotations

import json
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.samples import images, predicted
from tests.serving.mixed import encoded, png, probes, send_at_once
from tests.serving.servers import Served

PICKS = [2, 30, 77]


def v1(served: Served) -> list[int]:
    rows = [{"data": encoded(pick)} for pick in PICKS]
    return list(served.post("/v1/models/mnist:predict", {"instances": rows})["predictions"])


def v2_json(served: Served) -> list[int]:
    tensor = {"name": "x", "shape": [3], "datatype": "BYTES", "data": [encoded(pick) for pick in PICKS]}
    return list(served.post("/v2/models/mnist/infer", {"inputs": [tensor]})["outputs"][0]["data"])


def v2_binary(served: Served) -> list[int]:
    raw = b"".join(len(png(pick)).to_bytes(4, "little") + png(pick) for pick in PICKS)
    entry = {"name": "x", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    status, body, headers = served.raw(
        "/v2/models/mnist/infer", head + raw, {"Inference-Header-Content-Length": str(len(head))}
    )
    assert status == 200, body
    length = int(headers["inference-header-content-length"])
    [output] = json.loads(body[:length])["outputs"]
    assert (output["datatype"], output["parameters"]["binary_data_size"]) == ("INT64", 24)
    return [int(digit) for digit in np.frombuffer(body[length:], "<i8")]


def grpc_request(raw: bool) -> Any:
    request = service_pb2.ModelInferRequest(model_name="mnist")
    tensor = request.inputs.add(name="x", datatype="UINT8", shape=[3, 1, 28, 28])
    pixels = images()[PICKS]
    if raw:
        request.raw_input_contents.append(pixels.tobytes())
    else:
        tensor.contents.uint_contents.extend(pixels.ravel().tolist())
    return request


def over_grpc(served: Served, raw: bool) -> list[int]:
    with grpc.insecure_channel(served.grpc) as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(grpc_request(raw), timeout=30)
    if raw:
        return [int(digit) for digit in np.frombuffer(answer.raw_output_contents[0], "<i8")]
    return list(answer.outputs[0].contents.int64_contents)


WAYS = {
    "V1": v1,
    "V2 JSON": v2_json,
    "V2 binary": v2_binary,
    "gRPC typed": lambda served: over_grpc(served, raw=False),
    "gRPC raw": lambda served: over_grpc(served, raw=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_same_rows_same_answers(served: Served, way: str) -> None:
    assert WAYS[way](served) == [predicted()[pick] for pick in PICKS]


@pytest.mark.parametrize("seed", [1, 2])
def test_128_concurrent_mixed_requests_through_the_wrapper(served: Served, seed: int) -> None:
    assert send_at_once(served.base, list(probes(128, seed))) == []
