"""What the tests of KServe and TorchServe themselves ask and expect, with ``--compat``; built from their facts."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import grpc
import pytest
from tritonclient.grpc import service_pb2 as messages

from kserve_wrapper.supervisor.derived_config import free_port
from scripts.serving import supervised
from tests.samples import images, predicted
from tests.serving.servers import Served

PIXELS = (images()[3] / 255).ravel().tolist()
NAME = "d3b15cad-50a2-4eaf-80ce-8b0a428bd298"


@pytest.fixture(scope="module")
def compat(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("compat") / "log"
    http_port, grpc_port = free_port(), free_port()
    with supervised(store, log, http_port, grpc_port, wrapper=["--compat"]):
        yield Served(f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", log)


def test_the_whole_answer_over_http(compat: Served) -> None:
    tensor = {"name": "input-0", "shape": [1, 28, 28], "datatype": "FP32", "data": PIXELS}
    answer = compat.post("/v2/models/mnist/infer", {"id": NAME, "inputs": [tensor]})
    output = {"name": "input-0", "shape": [1], "datatype": "INT64", "parameters": None, "data": [predicted()[3]]}
    wanted = {"model_name": "mnist", "model_version": "1.0", "id": NAME, "parameters": None, "outputs": [output]}
    assert list(answer.items()) == list(wanted.items())


def test_the_whole_answer_over_grpc_under_torchserves_package(compat: Served) -> None:
    contents = {"fp32_contents": PIXELS}
    tensor = {"name": "input-0", "shape": [1, 28, 28], "datatype": "FP32", "contents": contents}
    with grpc.insecure_channel(compat.grpc) as channel:
        infer = channel.unary_unary(
            "/org.pytorch.serve.grpc.openinference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=messages.ModelInferResponse.FromString,
        )
        answer = infer(messages.ModelInferRequest(model_name="mnist", id=NAME, inputs=[tensor]), timeout=60)
    output = {"name": "input-0", "datatype": "INT64", "shape": [1], "contents": {"int64_contents": [predicted()[3]]}}
    assert answer == messages.ModelInferResponse(model_name="mnist", model_version="1.0", id=NAME, outputs=[output])
