"""The law over both packages without a server: what a client gets in company is what it gets alone.

The wrapper's merging and splitting around a real handler, by the bytes that travel between them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_wrapper.batching.rows import merge, prepare, split
from kserve_wrapper.core.calls import Call, ModelMetadata, Reply, Tensor, V1Call, V1Reply, V2Call
from kserve_wrapper.tensors.datatypes import join_bytes, values_of
from kserve_wrapper.torchserve.metadata import to_metadata
from kserve_wrapper.upstream.codec import decode_reply, encode_call
from mnist_handler import InputSpec, OutputSpec, RowHandler
from tests.unit.mnist_handler.conftest import RequestProcessor, make_context
from tests.unit.mnist_handler.explain.test_explained_inputs import WORDS, Sentiment


class Signal(RowHandler):
    """Rows of numbers of any length; a number for each of them, and one for all."""

    inputs = (InputSpec("signal", "FP32", (-1, 2), pad=0, companion="lengths"),)
    outputs = (OutputSpec("sums", "FP32", (-1,), like="signal"), OutputSpec("mean", "FP32", ()))

    def load(self, context: Any) -> Any:
        return lambda rows, lengths: (rows.sum(2), rows.sum((1, 2)) / lengths)


class Boxes(RowHandler):
    """As many boxes a row as it says."""

    inputs = (InputSpec("count", "INT64", (), low=0, high=9),)
    outputs = (OutputSpec("boxes", "FP32", (-1, 4)), OutputSpec("labels", "INT64", (-1,)))

    def load(self, context: Any) -> Any:
        return lambda counts: [
            {"boxes": torch.full((n, 4), float(n)), "labels": torch.arange(n)} for n in counts.tolist()
        ]


def signals(rows: List[List[float]], version: int) -> Any:
    """V2 has rows of one length in a request: that of the first."""
    if version == 1:
        return [[[value, value] for value in row] for row in rows]
    values = np.array([np.resize(row, len(rows[0])) for row in rows], np.float32)[..., None].repeat(2, axis=2)
    return Tensor("signal", "FP32", values.shape, values.tobytes())


def texts(rows: List[str], version: int) -> Any:
    return rows if version == 1 else Tensor("text", "BYTES", (len(rows),), join_bytes([row.encode() for row in rows]))


def numbers(rows: List[int], version: int) -> Any:
    return rows if version == 1 else Tensor("count", "INT64", (len(rows),), np.array(rows, np.int64).tobytes())


NUMBERS = st.lists(st.floats(-9, 9, width=16), min_size=1, max_size=7)
TEXTS = st.lists(st.sampled_from(WORDS[1:]), min_size=1, max_size=7).map(" ".join)
KINDS: Dict[str, Tuple[Any, Any, Any, bool]] = {
    "signal": (Signal, NUMBERS, signals, False),
    "boxes": (Boxes, st.integers(0, 5), numbers, False),
    "text": (Sentiment, TEXTS, texts, False),
    "text explained": (Sentiment, TEXTS, texts, True),
}
_handlers: Dict[str, Tuple[RowHandler, ModelMetadata]] = {}


def handler_of(kind: str) -> Tuple[RowHandler, ModelMetadata]:
    if kind not in _handlers:
        handler = KINDS[kind][0]()
        handler.initialize(make_context(Path("."), {"max_batch_size": 8, "batch_buckets": [8]}, weights=None))
        _handlers[kind] = (handler, to_metadata("m", ["1"], handler.describe_handle()))
    return _handlers[kind]


def sent(handler: RowHandler, metadata: ModelMetadata, call: Call) -> Reply:
    """What the wrapper reads of the handler's answer to a call."""
    request = encode_call(call, metadata)
    context = make_context(Path("."))
    headers = {"explain": str(call.explain)}
    if request.header_length is not None:
        headers["Inference-Header-Content-Length"] = str(request.header_length)
    context.request_processor = [RequestProcessor(headers)]
    (body,) = handler.handle([{"body": bytearray(request.body)}], context)
    assert context.request_processor[0]._status_code in (None, 200), body
    told = {name.lower(): value for name, value in context.request_processor[0].get_response_headers().items()}
    return decode_reply(call, told, bytes(body))


def as_lists(reply: Reply) -> Any:
    if isinstance(reply, V1Reply):
        return reply.results, reply.parameters
    return {one.name: (one.datatype, one.shape, _values(one)) for one in reply.outputs}, reply.parameters


def _values(tensor: Tensor) -> Any:
    if tensor.datatype == "BYTES":
        return bytes(tensor.data)
    return values_of(tensor.datatype, bytes(tensor.data)).ravel().tolist()


def close(one: Any, other: Any) -> bool:
    """Equal, numbers up to what another batch size rounds."""
    if isinstance(one, float) and isinstance(other, (int, float)):
        return bool(np.isclose(one, other, rtol=1e-4, atol=1e-4))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(close, one, other))
    return bool(one == other)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_in_company_as_alone(kind: str, version: int) -> None:
    _, rows_of, make, explain = KINDS[kind]
    handler, metadata = handler_of(kind)

    @settings(max_examples=15)
    @given(st.lists(st.lists(rows_of, min_size=1, max_size=3), min_size=2, max_size=4))
    def law(clients: List[List[Any]]) -> None:
        calls: List[Call] = []
        for rows in clients:
            if version == 1:
                calls.append(V1Call("m", None, explain, make(rows, 1)))
            else:
                calls.append(V2Call("m", None, explain, [make(rows, 2)]))
        slices = [prepare(call, metadata, by_row=True) for call in calls]
        assert len({part.key for part in slices}) == 1
        assert slices[0].key is not None
        together = split(sent(handler, metadata, merge(slices)), slices)
        for part, reply in zip(slices, together):
            alone = sent(handler, metadata, part.call)
            assert close(as_lists(reply), as_lists(alone)), (as_lists(reply), as_lists(alone))

    law()


def test_named_outputs_share_where_their_lengths_are_asked_for_too() -> None:
    _, metadata = handler_of("boxes")

    def shares(*outputs: str) -> bool:
        call = V2Call("m", None, False, [numbers([2], 2)], outputs=list(outputs))
        return prepare(call, metadata, by_row=True).key is not None

    assert shares("boxes", "boxes_length")
    assert not shares("boxes")
    _, padded = handler_of("signal")
    call = V2Call("m", None, False, [signals([[1.0]], 2)], outputs=["mean"])
    assert prepare(call, padded, by_row=True).key is not None


@pytest.mark.parametrize("target", ["0,1", "negative,positive"])
def test_a_target_for_each_row_shares_with_nobody(target: str) -> None:
    """With another client's rows beside them, two targets for one row would be right in number."""
    _, metadata = handler_of("text")
    for calls in (
        [V2Call("m", None, True, [texts(["good"], 2)], parameters={"target": target})],
        [V1Call("m", None, True, ["good"], {"parameters": {"target": target}})],
        [V1Call("m", None, True, ["good"], {"target": target})],
    ):
        assert prepare(calls[0], metadata, by_row=True).key is None
    assert prepare(V1Call("m", None, True, ["a"], {"target": "negative"}), metadata, by_row=True).key is not None


def test_which_class_was_explained_reaches_each_client_of_v1() -> None:
    handler, metadata = handler_of("text explained")
    slices = [prepare(V1Call("m", None, True, rows), metadata, by_row=True) for rows in (["good"], ["bad", "not"])]
    replies = split(sent(handler, metadata, merge(slices)), slices)
    for rows, reply in zip((1, 2), replies):
        assert isinstance(reply, V1Reply)
        classes = [int(one) for one in str(reply.parameters["targets"]).split(",")]
        assert len(classes) == rows
        assert [row["target"] for row in reply.results] == classes
