"""gRPC over real channels: every RPC, status codes, deadlines, health and reflection."""

from __future__ import annotations

import asyncio
import logging
import struct
import time
from typing import Any, Dict, Iterator, Optional, Tuple

import grpc
import numpy as np
import pytest

from kserve_wrapper.core import errors
from kserve_wrapper.core.calls import V2Call
from kserve_wrapper.core.errors import WrapperError
from kserve_wrapper.core.headers import trace_of
from kserve_wrapper.rpc.messages import Protocol
from tests.unit.kserve_wrapper.fakes import Front
from tests.unit.kserve_wrapper.live import Live

triton = pytest.importorskip("tritonclient.grpc", reason="needs a newer protobuf", exc_type=ImportError)
messages = triton.service_pb2

Pair = Tuple[Live, grpc.Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    live = Live(Front(), grpc=True, grpc_max_receive_message_length=100_000)
    with live, grpc.insecure_channel(f"127.0.0.1:{live.grpc_port}") as channel:
        yield live, channel


def call(channel: grpc.Channel, rpc: str, timeout: Any = 10, metadata: Any = None, **fields: Any) -> Any:
    request = getattr(messages, f"{rpc}Request")(**fields)
    method = channel.unary_unary(
        f"/inference.GRPCInferenceService/{rpc}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=getattr(messages, f"{rpc}Response").FromString,
    )
    return method(request, timeout=timeout, metadata=metadata)


FP32: Dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [1, 2], "contents": {"fp32_contents": [1, 2]}}


def test_health_and_metadata(pair: Pair) -> None:
    live, channel = pair
    assert call(channel, "ServerLive").live
    assert call(channel, "ServerReady").ready
    assert call(channel, "ModelReady", name="mnist", version="2.0").ready
    assert not call(channel, "ModelReady", name="loading").ready
    assert "binary_tensor_data" in call(channel, "ServerMetadata").extensions
    metadata = call(channel, "ModelMetadata", name="mnist")
    assert list(metadata.versions) == ["1.0", "2.0"]
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [("input", "FP32", [-1, 2])]
    live.front.models.is_ready = False
    assert not call(channel, "ServerReady").ready


def test_why_something_is_not_ready_is_trailing_metadata(pair: Pair) -> None:
    live, channel = pair

    def reason(rpc: str, **fields: Any) -> Optional[str]:
        request = getattr(messages, f"{rpc}Request")(**fields)
        method = channel.unary_unary(
            f"/inference.GRPCInferenceService/{rpc}", request_serializer=lambda message: message.SerializeToString()
        )
        _, answered = method.with_call(request, timeout=10)
        trailers: Dict[str, Any] = dict(answered.trailing_metadata())
        assert trailers["x-request-id"]
        return trailers.get("reason")

    assert reason("ModelReady", name="mnist") is None
    assert reason("ServerReady") is None
    live.front.models.why = "its worker – löst\nnichts"
    assert reason("ModelReady", name="loading") == "its worker \\u2013 l\\xf6st\\nnichts"
    live.front.models.is_ready = False
    assert str(reason("ServerReady")).startswith("model loading: its worker")


def test_what_is_not_ready_has_no_metadata_yet(pair: Pair) -> None:
    _, channel = pair
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, "ModelMetadata", name="loading")
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert refused.value.details() == "model loading is not ready: its worker is loading"


def test_typed_in_typed_out(pair: Pair) -> None:
    reply = call(pair[1], "ModelInfer", model_name="mnist", id="7", inputs=[FP32])
    assert (reply.model_name, reply.id, reply.model_version) == ("mnist", "7", "")
    assert list(reply.outputs[0].contents.fp32_contents) == [1.0, 2.0]
    assert not reply.raw_output_contents


def test_raw_in_raw_out(pair: Pair) -> None:
    tensor = {"name": "x", "datatype": "FP16", "shape": [2]}
    data = struct.pack("<2e", 1, 2)
    reply = call(
        pair[1], "ModelInfer", model_name="mnist", model_version="1.0", inputs=[tensor], raw_input_contents=[data]
    )
    assert list(reply.raw_output_contents) == [data]
    assert reply.model_version == "1.0"


def test_explain_by_parameter(pair: Pair) -> None:
    live, channel = pair
    call(channel, "ModelInfer", model_name="mnist", inputs=[FP32], parameters={"explain": {"bool_param": True}})
    [made] = live.front.submitter.calls
    assert isinstance(made, V2Call)
    assert (made.explain, made.parameters) == (True, {})


@pytest.mark.parametrize(
    ("name", "fields", "code"),
    [
        ("ModelInfer", {"model_name": "nobody", "inputs": [FP32]}, "NOT_FOUND"),
        ("ModelInfer", {"model_name": "mnist", "model_version": "9", "inputs": [FP32]}, "NOT_FOUND"),
        ("ModelInfer", {"model_name": "loading", "inputs": [FP32]}, "UNAVAILABLE"),
        ("ModelInfer", {"model_name": "mnist", "inputs": []}, "INVALID_ARGUMENT"),
        ("ModelInfer", {"model_name": "mnist", "inputs": [{**FP32, "shape": [3]}]}, "INVALID_ARGUMENT"),
        ("ModelReady", {"name": "nobody"}, "NOT_FOUND"),
        ("ModelMetadata", {"name": "nobody"}, "NOT_FOUND"),
        ("ModelStatistics", {"name": "nobody"}, "NOT_FOUND"),
        ("ModelConfig", {"name": "loading"}, "UNAVAILABLE"),
        ("SystemSharedMemoryStatus", {}, "UNIMPLEMENTED"),
        ("CudaSharedMemoryRegister", {"name": "r"}, "UNIMPLEMENTED"),
        ("ModelInfer", {"model_name": "mnist", "raw_input_contents": [b"x" * 200_000]}, "RESOURCE_EXHAUSTED"),
    ],
)
def test_errors_have_codes(pair: Pair, name: str, fields: Dict[str, Any], code: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(pair[1], name, **fields)
    assert caught.value.code().name == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidRequest("row 3: no image"), "INVALID_ARGUMENT"),
        (errors.Forbidden("off"), "PERMISSION_DENIED"),
        (errors.TooLarge("big"), "INVALID_ARGUMENT"),
        (errors.InternalError("oops"), "INTERNAL"),
        (errors.BadGateway("what"), "INTERNAL"),
        (errors.Unavailable("down"), "UNAVAILABLE"),
        (errors.QueueFull("full"), "RESOURCE_EXHAUSTED"),
        (errors.DeadlineExceeded("late"), "DEADLINE_EXCEEDED"),
        (errors.OutOfResources("memory"), "RESOURCE_EXHAUSTED"),
    ],
)
def test_each_error_of_ours_has_a_code(pair: Pair, error: WrapperError, code: str) -> None:
    live, channel = pair
    live.front.submitter.error = error
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, "ModelInfer", model_name="mnist", inputs=[FP32])
    assert (caught.value.code().name, caught.value.details()) == (code, error.message)


def test_a_fault_of_ours_tells_nothing_of_the_inside(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    live, channel = pair
    live.front.submitter.error = KeyError("/secret/path")
    with caplog.at_level(logging.ERROR), pytest.raises(grpc.RpcError) as caught:
        call(channel, "ModelInfer", model_name="mnist", inputs=[FP32])
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in caught.value.details()
    assert sum(record.exc_info is not None for record in caplog.records) == 1


def test_the_clients_deadline_reaches_the_call(pair: Pair) -> None:
    live, channel = pair
    call(channel, "ModelInfer", timeout=5, model_name="mnist", inputs=[FP32])
    call(channel, "ModelInfer", timeout=None, model_name="mnist", inputs=[FP32])
    near, far = [deadline - time.monotonic() for deadline in live.front.submitter.deadlines]
    assert near < 5.5 < far < 61  # gRPC sends the time left rounded up, by up to 10 ms at this length


def test_a_deadline_that_passes_cancels_the_call(pair: Pair) -> None:
    live, channel = pair
    live.front.submitter.gate = live.run(asyncio.Event)
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, "ModelInfer", timeout=0.2, model_name="mnist", inputs=[FP32])
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    end = time.monotonic() + 10
    while not live.front.submitter.cancelled and time.monotonic() < end:
        time.sleep(0.01)
    assert live.front.submitter.cancelled == 1


def test_ids_and_trace(pair: Pair) -> None:
    live, channel = pair
    sent = (("x-request-id", "abc"), ("traceparent", "00-1-2-01"), ("authorization", "secret"))
    call(channel, "ModelInfer", metadata=sent, model_name="mnist", inputs=[FP32])
    [made] = live.front.submitter.calls
    assert trace_of(made.headers) == {"x-request-id": "abc", "traceparent": "00-1-2-01"}
    assert made.headers[b"authorization"] == b"secret"


def test_the_repository(pair: Pair) -> None:
    live, channel = pair
    assert [m.name for m in call(channel, "RepositoryIndex").models] == ["mnist", "other"]
    assert [m.name for m in call(channel, "RepositoryIndex", ready=True).models] == ["mnist"]
    call(channel, "RepositoryModelLoad", model_name="other")
    call(channel, "RepositoryModelUnload", model_name="mnist")
    assert live.front.repository.asked[2:] == [("load", "other"), ("unload", "mnist")]


def test_what_a_load_does_not_honour_is_refused(pair: Pair) -> None:
    from kserve_wrapper.rpc.messages import load_messages

    request = load_messages().RepositoryModelLoadRequest(model_name="other")
    if "parameters" not in request.DESCRIPTOR.fields_by_name:
        pytest.skip("this package's message has no parameters")
    request.parameters["config"].string_param = "{}"
    method = pair[1].unary_unary("/inference.GRPCInferenceService/RepositoryModelLoad")
    with pytest.raises(grpc.RpcError) as refused:
        method(request.SerializeToString(), timeout=20)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "config" in refused.value.details()


def test_grpc_health(pair: Pair) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    live, channel = pair
    stub = health_pb2_grpc.HealthStub(channel)
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING

    def status(service: str) -> Any:
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status

    def reaches(wanted: Any) -> bool:
        end = time.monotonic() + 10
        while status("") != wanted and time.monotonic() < end:
            time.sleep(0.02)
        return bool(status("") == wanted)

    assert reaches(serving)
    assert status("inference.GRPCInferenceService") == serving
    live.front.models.is_ready = False
    assert reaches(not_serving)


def test_reflection_names_the_services(pair: Pair) -> None:
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    services = set(ProtoReflectionDescriptorDatabase(pair[1]).get_services())
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= services


def test_tritonclient(pair: Pair) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{pair[0].grpc_port}")
    data = np.array([[1.5, 2.5]], np.float32)
    tensor = triton.InferInput("x", data.shape, "FP32")
    tensor.set_data_from_numpy(data)
    result = client.infer("mnist", [tensor], request_id="9", outputs=[triton.InferRequestedOutput("x")])
    assert result.as_numpy("x").tolist() == [[1.5, 2.5]]
    assert result.get_response().id == "9"
    client.close()


def test_shared_memory_is_refused_by_its_name(pair: Pair) -> None:
    with pytest.raises(grpc.RpcError, match="shared memory is not offered"):
        call(pair[1], "CudaSharedMemoryStatus")


def test_reflection_tells_what_is_served_and_no_more(pair: Pair) -> None:
    from google.protobuf.descriptor_pool import DescriptorPool
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(pair[1]))
    told = {method.name for method in pool.FindServiceByName("inference.GRPCInferenceService").methods}
    protocol = {"ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"}
    repository = {"RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"}
    assert told == protocol | repository | {"ModelConfig", "ModelStatistics", "ModelStreamInfer"}
    assert pool.FindServiceByName("grpc.health.v1.Health").methods_by_name["Check"]
    metadata = pool.FindMessageTypeByName("inference.ModelMetadataResponse")
    assert metadata.fields_by_name["properties"].number == 6


def test_properties_tell_what_the_handler_said_beyond_the_protocol(pair: Pair) -> None:
    live, channel = pair
    live.front.models.extra = {"task": "classify", "optional_outputs": [{"name": "a"}]}
    served = Protocol(messages, [])
    method = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelMetadata",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=served.ModelMetadataResponse.FromString,
    )
    told = method(messages.ModelMetadataRequest(name="mnist"), timeout=10).properties
    assert dict(told) == {"task": "classify", "optional_outputs": '[{"name":"a"}]'}


def test_config_is_what_triton_clients_size_their_requests_by(pair: Pair) -> None:
    config = call(pair[1], "ModelConfig", name="mnist").config
    assert (config.name, config.max_batch_size) == ("mnist", 128)
    assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [("input", 11, [2])]
    assert [(t.name, t.data_type, list(t.dims), list(t.reshape.shape)) for t in config.output] == [
        ("predict", 9, [1], [])
    ]


def test_statistics_are_those_counted(pair: Pair) -> None:
    live, channel = pair
    live.front.metrics.models.answered("mnist", "1.0", rows=3, requests=2, waited=0.5, seconds=0.25)
    live.front.metrics.models.answered("mnist", None, rows=3, requests=1, waited=0.0, seconds=0.25)
    live.front.metrics.models.failed("mnist", "1.0", 0.125)
    first, second = call(channel, "ModelStatistics", name="mnist").model_stats
    assert (first.version, first.inference_count, first.execution_count) == ("1.0", 6, 2)
    stats = first.inference_stats
    assert (stats.success.count, stats.success.ns) == (3, 1_250_000_000)
    assert (stats.queue.count, stats.queue.ns) == (3, 500_000_000)
    assert (stats.compute_infer.count, stats.compute_infer.ns) == (3, 750_000_000)
    assert (stats.fail.count, stats.fail.ns) == (1, 125_000_000)
    assert [(b.batch_size, b.compute_infer.count, b.compute_infer.ns) for b in first.batch_stats] == [
        (3, 2, 500_000_000)
    ]
    assert (second.version, second.inference_count, second.last_inference) == ("2.0", 0, 0)


def test_a_stream_answers_each_request_in_order(pair: Pair) -> None:
    requests = [
        messages.ModelInferRequest(model_name="mnist", id="1", inputs=[FP32]),
        messages.ModelInferRequest(model_name="nobody", id="2", inputs=[FP32]),
        messages.ModelInferRequest(model_name="mnist", id="3", inputs=[FP32]),
    ]
    method = pair[1].stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=messages.ModelStreamInferResponse.FromString,
    )
    replies = list(method(iter(requests), timeout=10))
    assert [reply.infer_response.id for reply in replies] == ["1", "2", "3"]
    assert [reply.error_message for reply in replies] == ["", "model nobody is not served here", ""]
    assert list(replies[2].infer_response.outputs[0].contents.fp32_contents) == [1, 2]
    assert replies[0].infer_response.parameters["triton_final_response"].bool_param


def test_a_stream_that_is_cancelled_cancels_what_is_under_way(pair: Pair) -> None:
    live, channel = pair
    live.front.submitter.gate = live.run(asyncio.Event)
    method = channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=messages.ModelStreamInferResponse.FromString,
    )
    request = messages.ModelInferRequest(model_name="mnist", inputs=[FP32])
    replies = method(iter([request, request]), timeout=30)
    end = time.monotonic() + 20
    while len(live.front.submitter.calls) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    replies.cancel()
    while live.front.submitter.cancelled < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert live.front.submitter.cancelled == 2


@pytest.mark.parametrize("compat", [False, True])
def test_torchserves_package_name_is_answered_with_compat(compat: bool) -> None:
    with (
        Live(Front(), grpc=True, compat=compat) as live,
        grpc.insecure_channel(f"127.0.0.1:{live.grpc_port}") as channel,
    ):
        method = channel.unary_unary(
            "/org.pytorch.serve.grpc.openinference.GRPCInferenceService/ServerReady",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=messages.ServerReadyResponse.FromString,
        )
        if compat:
            assert method(messages.ServerReadyRequest(), timeout=10).ready
        else:
            with pytest.raises(grpc.RpcError) as caught:
                method(messages.ServerReadyRequest(), timeout=10)
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
