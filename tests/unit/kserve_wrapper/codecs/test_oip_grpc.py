"""gRPC's codec: round trips with typed and raw contents, with either package's messages, and its refusals."""

from __future__ import annotations

import struct
from typing import Any, Dict, List, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.codecs import oip_grpc
from kserve_wrapper.core.calls import Tensor, V2Call, V2Reply
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.rpc.messages import load_messages
from kserve_wrapper.tensors.datatypes import DATATYPES, bytes_elements, join_bytes
from tests.unit.kserve_wrapper.codecs.strategies import parameters, tensor_lists

messages = load_messages()
DOUBLES = "double_param" in messages.InferParameter.DESCRIPTOR.fields_by_name
TYPED = [name for name in DATATYPES if name not in ("FP16", "BF16")]


def as_request(reply: Any) -> Any:
    """The request that holds what a reply holds: their tensors are alike on the wire."""
    request = messages.ModelInferRequest(model_name=reply.model_name, id=reply.id, model_version=reply.model_version)
    for output in reply.outputs:
        request.inputs.add().ParseFromString(output.SerializeToString())
    request.raw_input_contents.extend(reply.raw_output_contents)
    return request


def without_doubles(values: Mapping[str, Any]) -> Dict[str, Any]:
    """Parameters as they arrive: kserve's messages have no field for doubles, which go as text."""
    return {k: v if DOUBLES or not isinstance(v, float) else str(v) for k, v in values.items()}


def same(left: List[Tensor], right: List[Tensor]) -> bool:
    """What arrived on the left, what was sent on the right."""
    return [(t.name, t.datatype, t.shape, bytes(t.data), dict(t.parameters)) for t in left] == [
        (t.name, t.datatype, t.shape, bytes(t.data), without_doubles(t.parameters)) for t in right
    ]


def round_trip(tensors: List[Tensor], raw: bool, given_parameters: Mapping[str, Any]) -> oip_grpc.GrpcRequest:
    asked = oip_grpc.GrpcRequest(V2Call("m", "2", False, []), "7", raw)
    reply = oip_grpc.encode_reply(messages.ModelInferResponse, asked, V2Reply(tensors, None, given_parameters))
    parsed = messages.ModelInferResponse.FromString(reply.SerializeToString())
    assert dict(oip_grpc.decode_parameters(parsed.parameters)) == without_doubles(given_parameters)
    return oip_grpc.decode_request(as_request(parsed), {})


@given(tensors=tensor_lists(text=False), given_parameters=parameters)
def test_raw_contents(tensors: List[Tensor], given_parameters: Mapping[str, Any]) -> None:
    asked = round_trip(tensors, True, given_parameters)
    assert same(asked.call.inputs, tensors)
    assert (asked.id, asked.raw, asked.call.version) == ("7", True, "2")


@given(tensors=tensor_lists(text=False, datatypes=TYPED))
def test_typed_contents(tensors: List[Tensor]) -> None:
    asked = round_trip(tensors, False, {})
    assert same(asked.call.inputs, tensors)
    assert not asked.raw


def test_fp16_makes_the_reply_raw() -> None:
    tensors = [Tensor("h", "FP16", (1,), b"\x00\x3c"), Tensor("i", "INT8", (1,), b"\x01")]
    asked = oip_grpc.GrpcRequest(V2Call("m", None, False, []), "", False)
    reply = oip_grpc.encode_reply(messages.ModelInferResponse, asked, V2Reply(tensors))
    assert list(reply.raw_output_contents) == [b"\x00\x3c", b"\x01"]
    assert not any(output.contents.ByteSize() for output in reply.outputs)


def parameter(**choice: Any) -> Any:
    return messages.InferParameter(**choice)


def infer(**changes: Any) -> Any:
    tensor: Dict[str, Any] = {
        "name": "x",
        "datatype": "FP32",
        "shape": [2],
        "contents": {"fp32_contents": [1, 2]},
        **changes.pop("tensor", {}),
    }
    return messages.ModelInferRequest(**{"model_name": "m", "inputs": [tensor], **changes})


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (infer(raw_input_contents=[b"\0" * 8]), "exclude each other"),
        (infer(raw_input_contents=[b"\0" * 8, b""], tensor={"contents": {}}), "each needs one"),
        (infer(raw_input_contents=[b"\0" * 7], tensor={"contents": {}}), "8 bytes, not 7"),
        (infer(tensor={"shape": [3]}), "12 bytes, not 8"),
        (infer(tensor={"shape": [-1]}), "negative"),
        (infer(tensor={"datatype": "FP33"}), "FP33"),
        (infer(tensor={"datatype": "FP16"}), "raw_input_contents"),
        (infer(tensor={"datatype": "INT64"}), "int64_contents"),
        (infer(tensor={"contents": {}}), "8 bytes, not 0"),
        (infer(tensor={"datatype": "INT8", "contents": {"int_contents": [1, 128]}}), "element 1"),
        (infer(tensor={"datatype": "UINT16", "contents": {"uint_contents": [65536, 1]}}), "element 0"),
        (infer(tensor={"datatype": "BYTES", "contents": {"bytes_contents": [b"a"]}}), "tensor 'x'"),
        (infer(inputs=[]), "one tensor"),
        (infer(parameters={"explain": parameter(int64_param=1)}), "explain"),
        (infer(parameters={"sequence_id": parameter(int64_param=7)}), "sequence_id"),
        (infer(parameters={"timeout": parameter(string_param="1s")}), "timeout.*microseconds"),
        (infer(tensor={"parameters": {"shared_memory_region": parameter(string_param="r")}}), "shared_memory_region"),
        (
            infer(outputs=[{"name": "o", "parameters": {"classification": parameter(bool_param=True)}}]),
            "classification",
        ),
    ],
)
def test_a_wrong_request_is_named(message: Any, text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        oip_grpc.decode_request(message, {})


@pytest.mark.skipif(not DOUBLES, reason="kserve's messages have no doubles")
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_parameter_that_json_cannot_carry(value: float) -> None:
    with pytest.raises(InvalidRequest, match="finite"):
        oip_grpc.decode_request(infer(parameters={"much": parameter(double_param=value)}), {})


@pytest.mark.parametrize("shape", [[], [-1], [2]])
def test_bytes_with_an_open_shape(shape: List[int]) -> None:
    tensor = {"datatype": "BYTES", "shape": shape, "contents": {"bytes_contents": [b"ab", b"\xff"]}}
    [found] = oip_grpc.decode_request(infer(tensor=tensor), {}).call.inputs
    assert (found.shape, bytes_elements(found.data)) == ((2,), [b"ab", b"\xff"])


def test_what_the_request_asks_for() -> None:
    message = infer(
        parameters={
            "explain": parameter(bool_param=True),
            "binary_data_output": parameter(bool_param=True),
            "a": parameter(int64_param=1),
        },
        outputs=[{"name": "o"}],
    )
    asked = oip_grpc.decode_request(message, {b"traceparent": b"t"})
    assert asked.call.explain
    assert asked.raw
    assert (asked.call.parameters, asked.call.outputs) == ({"a": 1}, ["o"])
    assert (asked.call.version, asked.call.headers) == (None, {b"traceparent": b"t"})
    assert asked.call.inputs[0].data == struct.pack("<2f", 1, 2)


def test_outputs_are_filtered() -> None:
    tensors = [Tensor("a", "BYTES", (1,), join_bytes([b"x"])), Tensor("b", "BOOL", (1,), b"\x01")]
    asked = oip_grpc.GrpcRequest(V2Call("m", None, False, [], ["b"]), "", False)
    reply = oip_grpc.encode_reply(messages.ModelInferResponse, asked, V2Reply(tensors))
    assert [(o.name, list(o.contents.bool_contents)) for o in reply.outputs] == [("b", [True])]
    missing = oip_grpc.GrpcRequest(V2Call("m", None, False, [], ["c"]), "", False)
    with pytest.raises(InvalidRequest, match="'c'"):
        oip_grpc.encode_reply(messages.ModelInferResponse, missing, V2Reply(tensors))


@pytest.mark.filterwarnings("ignore:Unexpected end-group tag")
@given(content=st.binary(max_size=80))
def test_nothing_but_invalid_request(content: bytes) -> None:
    try:
        message = messages.ModelInferRequest.FromString(content)
    except Exception:
        # Not a message at all: gRPC refuses it before the codec sees it.
        return
    try:
        asked = oip_grpc.decode_request(message, {})
    except InvalidRequest:
        return
    assert asked.call.inputs


def test_what_steers_triton_stays_here() -> None:
    given = {
        "triton_enable_empty_final_response": parameter(bool_param=True),
        "priority": parameter(int64_param=1),
        "sequence_id": parameter(int64_param=0),
        "timeout": parameter(int64_param=1_500_000),
        "unset": parameter(),
        "own": parameter(string_param="stays"),
    }
    call = oip_grpc.decode_request(infer(parameters=given), {}).call
    assert call.parameters == {"own": "stays"}
    assert call.timeout == 1.5


@pytest.mark.parametrize("shape", [[], [-1], [2]])
def test_raw_bytes_with_an_open_shape(shape: List[int]) -> None:
    tensor = {"datatype": "BYTES", "shape": shape, "contents": {}}
    call = oip_grpc.decode_request(infer(tensor=tensor, raw_input_contents=[join_bytes([b"a", b"bc"])]), {}).call
    assert (call.inputs[0].shape, bytes_elements(call.inputs[0].data)) == ((2,), [b"a", b"bc"])
