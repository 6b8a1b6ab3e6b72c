"""The wrapper's parsers under hostile input: a declared error of the 4xx kind, or a value; no other way."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Optional

import orjson
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.batching.rows import merge, prepare
from kserve_wrapper.codecs import oip_grpc, v1, v2
from kserve_wrapper.core.calls import Call, ModelMetadata, TensorMetadata
from kserve_wrapper.core.errors import WrapperError
from kserve_wrapper.core.trace import accept_id, trace_headers
from kserve_wrapper.rest.routing import Router, decode_segment
from kserve_wrapper.rpc.messages import load_messages
from kserve_wrapper.upstream.codec import encode_call
from tests.unit.fuzz.hostile import DOCUMENTS, HEADER_LENGTHS, TEXTS, V1, V2, fuzz

MESSAGES = load_messages()
STOCK = ModelMetadata("m", ["1.0"])
OURS = ModelMetadata(
    "m",
    ["1.0"],
    inputs=[TensorMetadata("input-0", "FP32", (-1, 1, 28, 28))],
    outputs=[TensorMetadata("predict", "INT64", (-1,))],
    extensions=["binary_tensor_data", "raw_body", "row_errors"],
)
#: Characters that an error's message may have: a client's name in it must not fill a log or a header.
LONGEST_MESSAGE = 4096


def declared(parse: Callable[[], Any]) -> Optional[Any]:
    """What a parser gives, or None where it refused as it should; anything else it raises fails the test."""
    try:
        return parse()
    except WrapperError as error:
        assert 400 <= error.status < 500, error.message
        assert len(error.message) <= LONGEST_MESSAGE
        error.message.encode()
        return None


def forward(call: Call) -> None:
    """The way of an accepted call to the wire, with a stock handler and with ours, alone and in company."""
    for metadata in (STOCK, OURS):
        declared(partial(forward_to, call, metadata))


def forward_to(call: Call, metadata: ModelMetadata) -> None:
    part = prepare(call, metadata, by_row=True)
    encode_call(part.call, metadata)
    if part.key is not None:
        encode_call(merge([part, part, part]), metadata)


@fuzz
@given(st.one_of(DOCUMENTS, V1).map(orjson.dumps))
def test_v1_documents(body: bytes) -> None:
    call = declared(lambda: v1.decode_request(body, "m", False, {}))
    if call is not None:
        forward(call)


@fuzz
@given(st.one_of(DOCUMENTS, V2).map(orjson.dumps), HEADER_LENGTHS, st.binary(max_size=40))
def test_v2_documents(text: bytes, header_length: Optional[str], tail: bytes) -> None:
    length = str(len(text)) if header_length == "-2" else header_length
    asked = declared(lambda: v2.decode_request(text + tail, length, "m", None, False, {}))
    if asked is not None:
        forward(asked.call)


@fuzz
@given(st.binary(max_size=60), HEADER_LENGTHS)
def test_bytes_that_are_no_document(body: bytes, header_length: Optional[str]) -> None:
    declared(lambda: v1.decode_request(body, "m", False, {}))
    declared(lambda: v2.decode_request(body, header_length, "m", None, True, {}))


@st.composite
def messages(draw: st.DrawFn) -> Any:
    """ModelInferRequests, nearly right."""
    message = MESSAGES.ModelInferRequest(model_name="m", id=draw(st.sampled_from(["", "id", "é" * 2000])))
    sizes = st.sampled_from([-(2**63), -1, 0, 1, 2, 28, 10**9, 2**63 - 1])
    for _ in range(draw(st.integers(0, 3))):
        datatype = draw(st.sampled_from(["BOOL", "INT8", "UINT16", "INT64", "FP16", "FP32", "BYTES", "", "FP99"]))
        tensor = message.inputs.add(name=draw(st.sampled_from(["", "a", "x" * 9000])), datatype=datatype)
        tensor.shape.extend(draw(st.lists(sizes, max_size=5)))
        contents = draw(st.sampled_from(["none", "int_contents", "bool_contents", "fp32_contents", "bytes_contents"]))
        if contents != "none":
            values = {"bytes_contents": [b"", b"\xff"], "bool_contents": [True], "fp32_contents": [float("nan"), 1e38]}
            getattr(tensor.contents, contents).extend(values.get(contents, [-1, 2**31 - 1, 300]))
        if draw(st.booleans()):
            tensor.parameters["binary_data_size"].int64_param = draw(sizes)
    for _ in range(draw(st.integers(0, 3))):
        message.raw_input_contents.append(draw(st.binary(max_size=20)))
    if draw(st.booleans()):
        message.outputs.add(name=draw(st.sampled_from(["", "predict"]))).parameters["binary_data"].string_param = "x"
    return message


@fuzz
@given(messages())
def test_grpc_messages(message: Any) -> None:
    asked = declared(lambda: oip_grpc.decode_request(message, {}))
    if asked is not None:
        forward(asked.call)


async def nothing(request: Any, *params: str) -> Any:
    raise AssertionError("not called")


@fuzz
@given(st.one_of(st.binary(max_size=40), TEXTS.map(str.encode)))
def test_paths(raw: bytes) -> None:
    """A segment never becomes more than one, and never one with a separator or a control character in it."""
    router = Router()
    router.add("/v2/models/{model}/versions/{version}/infer", POST=nothing)
    router.add("/v1/models/{model}:predict", POST=nothing)
    for path in (b"/v2/models/" + raw + b"/versions/1/infer", b"/v1/models/" + raw + b":predict", b"/" + raw):
        match = declared(partial(router.match, path))
        for param in match.params if match else ():
            assert param
            assert param not in (".", "..")
            assert not any(c in "/\\" or ord(c) < 32 or ord(c) == 127 for c in param)
    declared(lambda: decode_segment(raw))


@fuzz
@given(st.one_of(st.text(max_size=200), TEXTS))
def test_headers_that_travel(value: str) -> None:
    for text in (accept_id(value), *trace_headers(lambda _: value).values()):
        assert text.isascii()
        assert text.isprintable()
        assert len(text) <= 1024
