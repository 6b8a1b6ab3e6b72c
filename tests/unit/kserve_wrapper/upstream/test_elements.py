"""BYTES inputs of several elements in front of TorchServe's V2 envelope: each is answered, or the client is told."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any, Dict, List, Optional

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.core.calls import ModelMetadata, Tensor, V1Call, V1Reply, V2Call, V2Reply
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.tensors.datatypes import bytes_elements, join_bytes
from kserve_wrapper.upstream.elements import joined, one_by_one
from tests.unit.kserve_wrapper.upstream.http_server import HttpServer, Received, response, write

STOCK = ModelMetadata("m", ["1"])
OURS = replace(STOCK, extensions=["row_errors"])
ENVELOPE = "kservev2"


def texts(*elements: bytes, name: str = "x") -> Tensor:
    return Tensor(name, "BYTES", (len(elements),), join_bytes(elements), {"content_type": "base64"})


def infer(*inputs: Tensor, explain: bool = False) -> V2Call:
    return V2Call("m", None, explain, list(inputs))


def number(value: int, name: str = "x") -> Tensor:
    return Tensor(name, "INT64", (1,), value.to_bytes(8, "little"))


class Envelope:
    """As TorchServe's reads a request: the first element of BYTES, one output for each input, named after it."""

    def __init__(self) -> None:
        self.rows: List[Any] = []

    async def __call__(self, received: Received, writer: asyncio.StreamWriter) -> None:
        inputs = orjson.loads(received.body)["inputs"]
        self.rows.append([one["data"][0] for one in inputs])
        outputs = [
            {"name": one["name"], "shape": [1], "datatype": "BYTES", "data": [f"echo {one['data'][0]}"]}
            for one in inputs
        ]
        await write(response(orjson.dumps({"outputs": outputs})))(received, writer)


@pytest.mark.parametrize("explain", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_every_element_is_answered_in_order(rows: int, explain: bool) -> None:
    envelope, call = Envelope(), infer(texts(*[b"%d" % row for row in range(rows)]), explain=explain)

    async def main() -> None:
        async with HttpServer([envelope]) as server:
            upstream = server.upstream(envelope=ENVELOPE)
            reply = await upstream.send(call, STOCK, time.monotonic() + 30)
            assert isinstance(reply, V2Reply)
            (output,) = reply.outputs
            assert (output.name, output.datatype, output.shape) == ("x", "BYTES", (rows,))
            assert bytes_elements(output.data) == [b"echo %d" % row for row in range(rows)]
            await upstream.aclose()

    asyncio.run(asyncio.wait_for(main(), 60))
    assert envelope.rows == [[str(row) for row in range(rows)]]


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=6))
def test_each_element_is_an_input_and_comes_back_in_its_place(elements: List[bytes]) -> None:
    call = infer(texts(*elements))
    sent = one_by_one(call, STOCK, ENVELOPE)
    assert isinstance(sent, V2Call)
    assert (sent is call) == (len(elements) == 1)
    assert sent.inputs == [texts(element) for element in elements]
    answered = V2Reply([texts(element) for element in elements], "1", {"note": "kept"}, size=7)
    assert joined(sent, answered) == V2Reply([texts(*elements)], "1", {"note": "kept"}, size=7)


@given(st.integers(2, 5), st.integers(2, 4))
def test_several_values_of_an_element_are_its_row(rows: int, width: int) -> None:
    sent = one_by_one(infer(texts(*[b"a"] * rows)), STOCK, ENVELOPE)
    outputs = [Tensor("x", "FP64", (width,), bytes([row]) * 8 * width) for row in range(rows)]
    whole = joined(sent, V2Reply(outputs))
    assert whole == V2Reply([Tensor("x", "FP64", (rows, width), b"".join([one.data for one in outputs]))])


@pytest.mark.parametrize(
    ("call", "metadata", "envelope"),
    [
        (infer(texts(b"a", b"b")), OURS, ENVELOPE),
        (infer(texts(b"a", b"b")), STOCK, None),
        (infer(texts(b"a", b"b")), STOCK, "body"),
        (infer(texts(b"a", b"b")), STOCK, "kserve"),
        (infer(texts(b"a"), texts(b"b", name="y")), STOCK, ENVELOPE),
        (infer(Tensor("x", "INT64", (2,), bytes(16))), STOCK, ENVELOPE),
        (V1Call("m", None, False, ["a", "b"]), STOCK, ENVELOPE),
    ],
)
def test_what_loses_nothing_goes_as_the_client_sent_it(
    call: Any, metadata: ModelMetadata, envelope: Optional[str]
) -> None:
    assert one_by_one(call, metadata, envelope) is call


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ([texts()], "input 'x' has no element"),
        ([texts(b"a"), texts(b"b", b"c", name="y")], "input 'y' has 2 elements beside other inputs"),
        ([texts(b"a", b"b"), number(1, "y")], "input 'x' has 2 elements beside other inputs"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(inputs: List[Tensor], told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        one_by_one(infer(*inputs), STOCK, ENVELOPE)


ANSWERS: Dict[str, List[Tensor]] = {
    "gave 1 outputs for the 2 elements of input 'x'": [texts(b"both")],
    "gave 3 outputs for the 2 elements of input 'x'": [texts(b"a"), texts(b"b"), texts(b"c")],
    "gave 0 outputs": [],
    "differ in datatype or shape": [texts(b"a"), number(1)],
    "differ in datatype or shape, so": [texts(b"a"), texts(b"b", b"c")],
}


@pytest.mark.parametrize("told", ANSWERS)
def test_rows_that_were_not_answered_one_by_one_are_no_success(told: str) -> None:
    sent = one_by_one(infer(texts(b"a", b"b")), STOCK, ENVELOPE)
    with pytest.raises(InvalidRequest, match=told) as caught:
        joined(sent, V2Reply(ANSWERS[told]))
    assert "send each element in a request of its own" in caught.value.message


def test_a_v1_answer_is_left_alone() -> None:
    reply = V1Reply([1])
    assert joined(V1Call("m", None, False, [1]), reply) is reply
