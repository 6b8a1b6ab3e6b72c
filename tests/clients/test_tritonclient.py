"""Triton's Python clients, HTTP, gRPC and their asyncio forms: what their documented examples do, with our model."""

from __future__ import annotations

import asyncio
import queue
from typing import Any, Iterator

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
from grpc import insecure_channel as grpc_channel

from tests.samples import images, predicted
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


def test_http_requests_under_way_at_once(http: Any) -> None:
    pending = [
        http.async_infer("mnist", [tensor(triton_http, FLOATS[index : index + 1], "FP32")], request_id=str(index))
        for index in range(5)
    ]
    answers = [request.get_result() for request in pending]
    assert [answer.get_response()["id"] for answer in answers] == ["0", "1", "2", "3", "4"]
    assert [int(answer.as_numpy("predict")[0]) for answer in answers] == predicted()[:5]


def test_grpc_requests_under_way_at_once(grpc: Any) -> None:
    done: queue.Queue[Any] = queue.Queue()
    for index in range(5):
        given = [tensor(triton_grpc, FLOATS[index : index + 1], "FP32")]
        grpc.async_infer("mnist", given, lambda result, error: done.put((result, error)), request_id=str(index))
    answers = [done.get(timeout=60) for _ in range(5)]
    assert [error for _, error in answers] == [None] * 5
    by_id = {result.get_response().id: int(result.as_numpy("predict")[0]) for result, _ in answers}
    assert by_id == {str(index): predicted()[index] for index in range(5)}


def test_a_stream_of_requests(grpc: Any) -> None:
    done: queue.Queue[Any] = queue.Queue()
    grpc.start_stream(lambda result, error: done.put((result, error)))
    try:
        for index in range(5):
            given = [tensor(triton_grpc, FLOATS[index : index + 1], "FP32")]
            grpc.async_stream_infer("mnist", given, request_id=str(index), enable_empty_final_response=True)
        answers = [done.get(timeout=60) for _ in range(5)]
        grpc.async_stream_infer("nobody", [tensor(triton_grpc, FLOATS[:1], "FP32")])
        nothing, error = done.get(timeout=60)
    finally:
        grpc.stop_stream()
    assert [result.get_response().id for result, _ in answers] == ["0", "1", "2", "3", "4"]
    assert [int(result.as_numpy("predict")[0]) for result, _ in answers] == predicted()[:5]
    assert nothing is None
    assert "not served here" in str(error)


def test_objects_of_a_request_are_used_again(http: Any) -> None:
    given = triton_http.InferInput("input-0", [1, 1, 28, 28], "FP32")
    wanted = triton_http.InferRequestedOutput("predict")
    got = []
    for index, binary in ((0, True), (1, False), (2, True)):
        given.set_data_from_numpy(FLOATS[index : index + 1], binary_data=binary)
        got.append(int(http.infer("mnist", [given], outputs=[wanted]).as_numpy("predict")[0]))
    assert got == predicted()[:3]


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP64"])
def test_other_floats(http: Any, grpc: Any, datatype: str) -> None:
    array = FLOATS.astype({"FP16": np.float16, "BF16": ml_dtypes.bfloat16, "FP64": np.float64}[datatype])
    for client, library in ((http, triton_http), (grpc, triton_grpc)):
        answer = client.infer("mnist", [tensor(library, array, datatype)])
        assert answer.as_numpy("predict").tolist() == predicted()[:5]


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_statistics_count_what_was_asked(http: Any, grpc: Any, kind: str) -> None:
    def told() -> tuple[int, int]:
        if kind == "http":
            [entry] = http.get_inference_statistics("mnist", "1.0")["model_stats"]
        else:
            [entry] = grpc.get_inference_statistics("mnist", as_json=True)["model_stats"]
        stats = entry["inference_stats"]
        assert stats["success"]["ns"] == 0 or int(stats["success"]["ns"]) > int(stats["queue"].get("ns", 0))
        return int(entry["inference_count"]), int(stats["success"]["count"])

    http.infer("mnist", [tensor(triton_http, FLOATS, "FP32")])
    rows, requests = told()
    http.infer("mnist", [tensor(triton_http, FLOATS, "FP32")])
    assert told() == (rows + 5, requests + 1)


def test_configuration(http: Any, grpc: Any) -> None:
    config = http.get_model_config("mnist")
    assert config["input"][0] == {"name": "input-0", "data_type": "TYPE_FP32", "dims": [1, 28, 28]}
    assert config["max_batch_size"] == 128
    same = grpc.get_model_config("mnist").config
    assert (same.name, same.max_batch_size, list(same.input[0].dims)) == ("mnist", 128, [1, 28, 28])


def test_the_repository(http: Any, grpc: Any) -> None:
    assert {"name": "mnist", "version": "1.0", "state": "READY"}.items() <= http.get_model_repository_index()[0].items()
    assert grpc.get_model_repository_index().models[0].state == "READY"


@pytest.mark.parametrize("priority", [0, 3])
def test_what_steers_triton_is_taken(http: Any, grpc: Any, priority: int) -> None:
    for client, library in ((http, triton_http), (grpc, triton_grpc)):
        given = [tensor(library, FLOATS[:1], "FP32")]
        answer = client.infer("mnist", given, priority=priority, timeout=30_000_000)
        assert answer.as_numpy("predict").tolist() == predicted()[:1]


def test_a_deadline_in_microseconds(http: Any, grpc: Any) -> None:
    for client, library in ((http, triton_http), (grpc, triton_grpc)):
        with pytest.raises(library.InferenceServerException, match="deadline"):
            client.infer("mnist", [tensor(library, FLOATS[:1], "FP32")], timeout=1)


def test_sequences_are_refused(http: Any, grpc: Any) -> None:
    for client, library in ((http, triton_http), (grpc, triton_grpc)):
        with pytest.raises(library.InferenceServerException, match="sequence_id"):
            client.infer("mnist", [tensor(library, FLOATS[:1], "FP32")], sequence_id=7, sequence_start=True)


def test_shared_memory_is_refused_by_its_name(http: Any, grpc: Any) -> None:
    for client, library in ((http, triton_http), (grpc, triton_grpc)):
        with pytest.raises(library.InferenceServerException, match="shared memory is not offered"):
            client.get_system_shared_memory_status()
        given = library.InferInput("input-0", [1, 1, 28, 28], "FP32")
        given.set_shared_memory("region", 3136)
        with pytest.raises(library.InferenceServerException, match="shared memory is not offered"):
            client.infer("mnist", [given])


def test_asyncio_clients(served: Served) -> None:
    async def ask(client: Any, library: Any) -> None:
        async with client:
            assert await client.is_server_ready()
            assert await client.is_model_ready("mnist")
            asked = [client.infer("mnist", [tensor(library, FLOATS[i : i + 1], "FP32")]) for i in range(5)]
            answers = await asyncio.gather(*asked)
            assert [int(answer.as_numpy("predict")[0]) for answer in answers] == predicted()[:5]

    async def both() -> None:
        await ask(triton_http_aio.InferenceServerClient(served.base.removeprefix("http://")), triton_http_aio)
        await ask(triton_grpc_aio.InferenceServerClient(served.grpc), triton_grpc_aio)

    asyncio.run(both())


def test_an_asyncio_stream(served: Served) -> None:
    async def stream() -> list[int]:
        async def requests() -> Any:
            for index in range(4):
                given = [tensor(triton_grpc_aio, FLOATS[index : index + 1], "FP32")]
                yield {"model_name": "mnist", "inputs": given}

        async with triton_grpc_aio.InferenceServerClient(served.grpc) as client:
            return [int(r.as_numpy("predict")[0]) async for r, error in client.stream_infer(requests()) if not error]

    assert asyncio.run(stream()) == predicted()[:4]


def test_the_best_classes(http: Any, grpc: Any) -> None:
    for client, library in ((http, triton_http), (grpc, triton_grpc)):
        wanted = [library.InferRequestedOutput("probabilities", class_count=3)]
        answer = client.infer("mnist", [tensor(library, FLOATS, "FP32")], outputs=wanted).as_numpy("probabilities")
        assert answer.shape == (5, 3)
        assert [int(row[0].decode().split(":")[1]) for row in answer] == predicted()[:5]


def test_the_generated_stub_and_typed_contents(served: Served) -> None:
    request = triton_grpc.service_pb2.ModelInferRequest(model_name="mnist", id="stub")
    given = request.inputs.add(name="input-0", datatype="FP32", shape=[2, 1, 28, 28])
    given.contents.fp32_contents.extend(FLOATS[:2].ravel().tolist())
    with grpc_channel(served.grpc) as channel:
        stub = triton_grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = stub.ModelInfer(request, timeout=60)
        assert stub.ServerLive(triton_grpc.service_pb2.ServerLiveRequest(), timeout=60).live
    assert list(answer.outputs[0].contents.int64_contents) == predicted()[:2]
    assert (answer.id, answer.model_version) == ("stub", "1.0")


def test_a_connection_that_is_kept_alive(served: Served) -> None:
    options = triton_grpc.KeepAliveOptions(keepalive_time_ms=20_000, keepalive_timeout_ms=20_000)
    with triton_grpc.InferenceServerClient(served.grpc, keepalive_options=options) as client:
        answer = client.infer("mnist", [tensor(triton_grpc, FLOATS, "FP32")], client_timeout=60)
    assert answer.as_numpy("predict").tolist() == predicted()[:5]


def test_headers_and_query_of_ones_own(http: Any) -> None:
    given = [tensor(triton_http, FLOATS[:1], "FP32")]
    answer = http.infer("mnist", given, headers={"X-Team": "digits"}, query_params={"from": "test"})
    assert answer.as_numpy("predict").tolist() == predicted()[:1]
    assert http.is_server_live(headers={"X-Team": "digits"})
