"""What may share an upstream request, and that rows come back to the one who sent them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, List, Sequence, Tuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.batching import rows
from kserve_wrapper.batching.rows import BatchSlice, RowsMismatch, answers_by_row, merge, split
from kserve_wrapper.core.calls import Call, ModelMetadata, Tensor, TensorMetadata, V1Call, V1Reply, V2Call, V2Reply
from kserve_wrapper.tensors.datatypes import DATATYPES, DTYPES, ITEM_SIZES, bytes_elements, check_buffer, join_bytes

OURS = ["binary_tensor_data", "raw_body", "row_errors", "independent_rows"]
IMAGES = ModelMetadata("m", ["1"], inputs=[TensorMetadata("image", "FP32", (-1, 1, 28, 28))], extensions=OURS)
TEXTS = ModelMetadata("m", ["1"], inputs=[TensorMetadata("text", "BYTES", (-1,))], extensions=OURS)
PAIR = ModelMetadata(
    "m",
    ["1"],
    inputs=[TensorMetadata("ids", "INT64", (-1, -1)), TensorMetadata("mask", "INT64", (-1, -1))],
    extensions=OURS,
)
STOCK = ModelMetadata("m", ["1"])


def zeros(name: str, datatype: str, shape: Sequence[int], **fields: Any) -> Tensor:
    return Tensor(name, datatype, tuple(shape), np.zeros(tuple(shape), DTYPES[datatype]).tobytes(), **fields)


def texts(name: str, *elements: bytes) -> Tensor:
    return Tensor(name, "BYTES", (len(elements),), join_bytes(list(elements)))


def infer(*inputs: Tensor, **fields: Any) -> V2Call:
    return V2Call(**{"model": "m", "version": None, "explain": False, "inputs": list(inputs), **fields})


def predict(*instances: Any, **fields: Any) -> V1Call:
    return V1Call(**{"model": "m", "version": None, "explain": False, "instances": list(instances), **fields})


def prepare(call: Call, metadata: ModelMetadata, sharing: bool = True) -> BatchSlice:
    """As where the operator declares the model to answer row by row."""
    return rows.prepare(call, metadata, answers_by_row(call.model, metadata, {"m", "n"}), sharing)


def inputs_of(part: BatchSlice) -> List[Tensor]:
    assert isinstance(part.call, V2Call)
    return part.call.inputs


@pytest.mark.parametrize(("shape", "rows"), [((1, 28, 28), 1), ((1, 1, 28, 28), 1), ((5, 1, 28, 28), 5)])
def test_row_without_batch_dimension_gets_one(shape: Tuple[int, ...], rows: int) -> None:
    part = prepare(infer(zeros("input-0", "FP32", shape)), IMAGES)
    assert part.rows == rows
    assert inputs_of(part)[0].shape == (rows, 1, 28, 28)
    assert inputs_of(part)[0].name == "image"
    assert part.key == prepare(infer(zeros("c0ffee", "FP32", (1, 28, 28))), IMAGES).key


@pytest.mark.parametrize(
    "call",
    [
        infer(zeros("x", "FP32", (28, 28))),
        infer(zeros("x", "FP32", (3, 28, 28))),
        infer(zeros("x", "FP32", (1, 1, 28, 27))),
        infer(zeros("x", "FP32", (784,))),
        infer(zeros("x", "FP32", ())),
        infer(zeros("x", "FP32", (0, 1, 28, 28))),
        infer(zeros("x", "FP32", (1, 28, 28)), zeros("y", "FP32", (1, 28, 28))),
        infer(Tensor("x", "BYTES", (1, 2), join_bytes([b"a", b"b"]))),
    ],
)
def test_what_does_not_fit_goes_alone_unchanged(call: V2Call) -> None:
    part = prepare(call, IMAGES)
    assert part.key is None
    assert [replace(t, name="x") for t in inputs_of(part)] == [replace(t, name="x") for t in call.inputs]


def test_encoded_images_in_the_place_of_numbers_are_rows() -> None:
    part = prepare(infer(texts("312a4eb0", b"png", b"png")), IMAGES)
    assert (part.rows, part.key is not None) == (2, True)
    assert part.key != prepare(infer(zeros("x", "FP32", (2, 1, 28, 28))), IMAGES).key


@pytest.mark.parametrize("metadata", [IMAGES, TEXTS])
def test_one_element_a_row_is_a_row_in_any_number_of_dimensions(metadata: ModelMetadata) -> None:
    elements = join_bytes([b"a", b"b"])
    flat, column, deep = (
        prepare(infer(Tensor("x", "BYTES", shape, elements)), metadata) for shape in ((2,), (2, 1), (2, 1, 1))
    )
    assert flat.key is not None
    assert flat.key == column.key == deep.key
    merged = merge([flat, column, deep])
    assert isinstance(merged, V2Call)
    assert merged.inputs[0].shape == (6,)
    assert prepare(infer(Tensor("x", "BYTES", (1, 2), elements)), metadata).key is None


def test_inputs_of_one_call_must_agree_on_their_rows() -> None:
    good = prepare(infer(zeros("ids", "INT64", (2, 7)), zeros("mask", "INT64", (2, 7))), PAIR)
    assert (good.rows, good.key is not None) == (2, True)
    bad = prepare(infer(zeros("ids", "INT64", (2, 7)), zeros("mask", "INT64", (3, 7))), PAIR)
    assert bad.key is None
    assert prepare(infer(zeros("ids", "INT64", (2, 7)), zeros("ids", "INT64", (2, 7))), PAIR).key is None
    assert prepare(infer(zeros("ids", "INT64", (2, 7)), zeros("what", "INT64", (2, 7))), PAIR).key is None


@pytest.mark.parametrize("datatype", ["UINT8", "FP16", "FP64"])
def test_other_numbers_than_the_handlers_share_among_themselves(datatype: str) -> None:
    """The handler may convert them; that is for it to say."""
    part = prepare(infer(zeros("x", datatype, (1, 28, 28))), IMAGES)
    assert part.key == prepare(infer(zeros("y", datatype, (2, 1, 28, 28))), IMAGES).key
    assert part.key not in (None, prepare(BASE, IMAGES).key)


BASE = infer(zeros("x", "FP32", (1, 1, 28, 28)))
TEXT = infer(texts("x", b"a"))


@pytest.mark.parametrize(
    ("one", "other", "metadata"),
    [
        (BASE, replace(BASE, model="n"), IMAGES),
        (BASE, replace(BASE, version="1"), IMAGES),
        (BASE, replace(BASE, explain=True), IMAGES),
        (BASE, replace(BASE, outputs=["a"]), IMAGES),
        (BASE, replace(BASE, outputs=[]), IMAGES),
        (replace(BASE, outputs=["a", "b"]), replace(BASE, outputs=["b", "a"]), IMAGES),
        (BASE, replace(BASE, parameters={"p": 1}), IMAGES),
        (replace(BASE, parameters={"p": True}), replace(BASE, parameters={"p": 1}), IMAGES),
        (replace(BASE, parameters={"p": 1.0}), replace(BASE, parameters={"p": 1}), IMAGES),
        (replace(BASE, parameters={"p": "1"}), replace(BASE, parameters={"p": 1}), IMAGES),
        (BASE, infer(zeros("x", "FP32", (1, 1, 28, 28), parameters={"p": 1})), IMAGES),
        (TEXT, BASE, IMAGES),
        (
            infer(zeros("ids", "INT64", (1, 7)), zeros("mask", "INT64", (1, 7))),
            infer(zeros("ids", "INT64", (1, 8)), zeros("mask", "INT64", (1, 8))),
            PAIR,
        ),
        (infer(zeros("x", "FP32", (1, 7))), infer(zeros("x", "FP32", (7,))), STOCK),
        (infer(zeros("x", "FP32", (7,))), infer(zeros("x", "INT32", (7,))), STOCK),
        (predict(1), predict(1, extra={"parameters": {"a": 1}}), IMAGES),
        (predict(1, extra={"a": 1}), predict(1, extra={"a": 1.0}), IMAGES),
        (predict(1), predict(1, explain=True), IMAGES),
        (predict(1), predict(1, version="2"), IMAGES),
        (predict(1), BASE, IMAGES),
    ],
)
def test_what_must_not_share(one: Call, other: Call, metadata: ModelMetadata) -> None:
    assert prepare(one, metadata).key is not None
    assert prepare(one, metadata).key != prepare(other, metadata).key


def test_order_of_parameters_is_no_difference() -> None:
    one = prepare(replace(BASE, parameters={"a": 1, "b": 2}), IMAGES)
    assert one.key == prepare(replace(BASE, parameters={"b": 2, "a": 1}), IMAGES).key


@pytest.mark.parametrize("call", [predict("a", explain=True), infer(zeros("x", "FP32", (7,)), explain=True)])
def test_stock_handlers_explain_each_request_alone(call: Call) -> None:
    """They take the target of row 0 for every row."""
    assert prepare(call, STOCK).key is None


def test_turned_off_has_the_same_form_and_shares_with_nobody() -> None:
    call = infer(zeros("input-0", "FP32", (1, 28, 28)))
    assert prepare(call, IMAGES, sharing=False) == replace(prepare(call, IMAGES), key=None)


@st.composite
def tensors(draw: st.DrawFn, name: str, datatype: str, tail: Tuple[int, ...]) -> Tensor:
    rows = draw(st.integers(1, 4))
    shape = (rows, *tail)
    count = int(np.prod(shape))
    if datatype == "BYTES":
        return Tensor(name, datatype, shape, join_bytes([draw(st.binary(max_size=3)) for _ in range(count)]))
    size = count * ITEM_SIZES[datatype]
    return Tensor(name, datatype, shape, draw(st.binary(min_size=size, max_size=size)))


@st.composite
def calls_of_one_key(draw: st.DrawFn) -> Tuple[ModelMetadata, List[V2Call]]:
    datatype = draw(st.sampled_from(DATATYPES))
    tail = draw(st.sampled_from([(), (2,), (0,), (3, 1)]))
    metadata = ModelMetadata("m", ["1"], inputs=[TensorMetadata("x", datatype, (-1, *tail))], extensions=OURS)
    calls = draw(st.lists(tensors("x", datatype, tail).map(infer), min_size=1, max_size=6))
    return metadata, calls


@given(calls_of_one_key())
def test_echoed_rows_come_back_to_their_senders(drawn: Tuple[ModelMetadata, List[V2Call]]) -> None:
    metadata, calls = drawn
    slices = [prepare(call, metadata) for call in calls]
    assert len({part.key for part in slices}) == 1
    merged = merge(slices)
    assert isinstance(merged, V2Call)
    check_buffer(merged.inputs[0])
    reply = V2Reply([merged.inputs[0], replace(merged.inputs[0], name="again")], "1", {"p": 1})
    for call, own in zip(calls, split(reply, slices)):
        assert isinstance(own, V2Reply)
        assert (own.model_version, own.parameters) == ("1", {"p": 1} if len(slices) == 1 else {})
        assert own.outputs == [replace(call.inputs[0], name="x"), replace(call.inputs[0], name="again")]


@given(calls_of_one_key(), st.integers(-2, 2).filter(bool))
def test_other_rows_than_sent_are_noticed(drawn: Tuple[ModelMetadata, List[V2Call]], off: int) -> None:
    metadata, calls = drawn
    slices = [prepare(call, metadata) for call in calls]
    rows = max(0, sum(part.rows for part in slices) + off)
    with pytest.raises(RowsMismatch):
        split(V2Reply([zeros("y", "FP32", (rows, 2))]), slices)


@pytest.mark.parametrize("outputs", [[], [zeros("y", "FP32", ())]])
def test_outputs_without_rows_are_noticed(outputs: List[Tensor]) -> None:
    with pytest.raises(RowsMismatch):
        split(V2Reply(outputs), [prepare(BASE, IMAGES)])


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=4), min_size=1, max_size=6))
def test_v1_rows_come_back_to_their_senders(everyone: List[List[int]]) -> None:
    slices = [prepare(predict(*instances), IMAGES) for instances in everyone]
    merged = merge(slices)
    assert isinstance(merged, V1Call)
    assert split(V1Reply(merged.instances), slices) == [V1Reply(instances) for instances in everyone]


@given(st.lists(st.binary(max_size=3), min_size=1, max_size=5))
def test_inputs_of_one_element_are_the_rows_of_stock_envelopes(everyone: List[bytes]) -> None:
    slices = [prepare(infer(texts(f"name-{i}", element)), STOCK) for i, element in enumerate(everyone)]
    assert len({part.key for part in slices}) == 1
    merged = merge(slices)
    assert isinstance(merged, V2Call)
    assert [bytes_elements(t.data) for t in merged.inputs] == [[element] for element in everyone]
    for i, own in enumerate(split(V2Reply(list(merged.inputs)), slices)):
        assert isinstance(own, V2Reply)
        assert own.outputs == [texts(f"name-{i}", everyone[i])]


@pytest.mark.parametrize("answered", [1, 3])
def test_stock_answers_of_another_number_are_noticed(answered: int) -> None:
    slices = [prepare(infer(zeros("x", "FP32", (7,))), STOCK)] * 2
    with pytest.raises(RowsMismatch, match=f"{answered} outputs to 2 inputs"):
        split(V2Reply([zeros("x", "FP64", (10,))] * answered), slices)


@pytest.mark.parametrize("elements", [[], [b"a", b"b"]])
def test_bytes_of_several_elements_reach_stock_handlers_as_the_client_sent_them(elements: List[bytes]) -> None:
    call = infer(texts("x", *elements))
    part = prepare(call, STOCK)
    assert (part.call, part.key) == (call, None)
    reply = V2Reply([texts("y", b"one answer"), texts("z", b"and another")])
    assert split(reply, [part]) == [reply]


CALLS: List[Call] = [
    predict([1.0]),
    predict({"data": "a"}),
    predict("a", "b", explain=True),
    infer(zeros("x", "FP32", (1, 1, 28, 28))),
    infer(zeros("x", "FP32", (7,))),
    infer(texts("x", b"a")),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "metadata", [STOCK, replace(IMAGES, extensions=[name for name in OURS if name != "independent_rows"])]
)
def test_who_does_not_declare_independent_rows_shares_with_nobody(call: Call, metadata: ModelMetadata) -> None:
    """And the answer is taken as it comes, however many rows it has."""
    assert not answers_by_row("m", metadata)
    part = rows.prepare(call, metadata, by_row=False)
    assert part.key is None
    reply = V1Reply([1, 2, 3]) if isinstance(call, V1Call) else V2Reply([zeros("y", "FP32", (3, 2))])
    assert split(reply, [part]) == [reply]


def test_operator_or_handler_declare_independent_rows() -> None:
    assert answers_by_row("m", IMAGES)
    assert answers_by_row("m", STOCK, {"m"})
    assert not answers_by_row("m", STOCK, {"n"})


@pytest.mark.parametrize("outputs", [[], ["only"]])
def test_stock_request_with_several_inputs_goes_alone_and_is_taken_as_it_comes(outputs: List[str]) -> None:
    part = prepare(infer(zeros("a", "FP32", (3,)), zeros("b", "FP32", (3,))), STOCK)
    assert part.key is None
    reply = V2Reply([zeros(name, "FP32", (1,)) for name in outputs])
    assert split(reply, [part]) == [reply]


@given(st.lists(st.integers(1, 4), min_size=2, max_size=6))
def test_parameters_by_row_go_to_their_rows_and_others_to_nobody(counts: List[int]) -> None:
    slices = [prepare(infer(zeros("x", "FP32", (count, 1, 28, 28)), explain=True), IMAGES) for count in counts]
    rows = sum(counts)
    parameters = {"targets": ",".join(str(row) for row in range(rows)), "note": "of all", "seconds": 1.5}
    reply = V2Reply([zeros("explain", "FP32", (rows, 1, 28, 28))], "1", parameters)
    starts = [sum(counts[:index]) for index in range(len(counts))]
    wanted = [{"targets": ",".join(map(str, range(s, s + count)))} for s, count in zip(starts, counts)]
    assert [own.parameters for own in split(reply, slices) if isinstance(own, V2Reply)] == wanted


def test_a_request_that_was_alone_keeps_all_parameters() -> None:
    part = prepare(infer(zeros("x", "FP32", (2, 1, 28, 28)), explain=True), IMAGES)
    reply = V2Reply([zeros("explain", "FP32", (2, 1, 28, 28))], "1", {"targets": "1,2", "note": "of all"})
    [own] = split(reply, [part])
    assert isinstance(own, V2Reply)
    assert own.parameters == {"targets": "1,2", "note": "of all"}


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ([{"data": "a"}], [{"data": "b"}, {"data": "c"}], True),
        ([[1.0]], [[2.0], [3.0]], True),
        ([[[1, 2], [3, 4]]], [[[5, 6], [7, 8]]], True),
        ([1.0], ["text"], True),
        ([[1.0]], ["text"], False),
        ([[1, 2]], [[3]], False),
        ([[]], [[3]], False),
        ([[1, 2], [3]], [[1, 2], [3]], False),
        ([[[1, 2], [3, 4]]], [[[5, 6]]], False),
        ([{"a": [1, 2]}], [{"a": [1]}], False),
        ([{"a": 1}], [{"a": 1, "b": 2}], False),
        ([{"data": "a"}], ["a"], False),
        ([{"data": "a"}, "a"], [{"data": "a"}, "a"], False),
    ],
)
def test_v1_rows_share_where_they_have_the_same_keys_and_shapes(one: List[Any], other: List[Any], share: bool) -> None:
    first, second = (prepare(predict(*instances), IMAGES).key for instances in (one, other))
    assert (first is not None and first == second) is share


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ([[1, 2]], [[3]], True),
        ([[1, 2], [3]], [[4]], True),
        ([{"a": [1, 2]}], [{"a": [1]}], True),
        ([[1, 2]], ["text"], False),
        ([{"a": 1}], [{"b": 1}], False),
    ],
)
def test_unequal_v1_rows_share_where_the_handler_pads_them(one: List[Any], other: List[Any], share: bool) -> None:
    ragged = replace(IMAGES, extensions=[*OURS, "ragged_rows"])
    first, second = (prepare(predict(*instances), ragged).key for instances in (one, other))
    assert (first is not None and first == second) is share


RAGGED_PAIR = replace(
    PAIR,
    inputs=[*PAIR.inputs, TensorMetadata("weight", "FP32", (-1,))],
    extensions=[*OURS, "ragged_rows", "ragged_inputs"],
)
SHAPES = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=5)


@given(SHAPES)
def test_several_inputs_of_unequal_lengths_share_where_the_handler_pads_them(
    shapes: List[Tuple[int, int, int]],
) -> None:
    calls = []
    for number, (count, first, second) in enumerate(shapes):
        values = {"ids": np.full((count, first), number), "mask": np.full((count, second), -number)}
        weight = Tensor("weight", "FP32", (count,), np.full(count, number, np.float32).tobytes())
        pair = [Tensor(name, "INT64", array.shape, array.tobytes()) for name, array in values.items()]
        calls.append(infer(*pair, weight))
    parts = [prepare(call, RAGGED_PAIR) for call in calls]
    assert len({part.key for part in parts}) == 1
    assert parts[0].key is not None
    merged = rows.merge(parts)
    assert isinstance(merged, V2Call)
    for name, sign in (("ids", 1), ("mask", -1)):
        tensors = [one for one in merged.inputs if one.name == name]
        found = [row.tolist() for one in tensors for row in np.frombuffer(one.data, np.int64).reshape(one.shape)]
        lengths = [(count, first if sign == 1 else second) for count, first, second in shapes]
        assert found == [
            [sign * number] * length for number, (count, length) in enumerate(lengths) for _ in range(count)
        ]
        runs = [length for length, _ in itertools.groupby(length for _, length in lengths)]
        assert [one.shape[1] for one in tensors] == runs
    (weights,) = (one for one in merged.inputs if one.name == "weight")
    assert weights.shape == (sum(count for count, _, _ in shapes),)


def test_several_inputs_of_unequal_lengths_go_apart_unless_the_handler_says_that_it_takes_them() -> None:
    one, other = (infer(zeros("ids", "INT64", (1, n)), zeros("mask", "INT64", (1, n))) for n in (2, 3))
    for extensions in ([], ["ragged_rows"]):  # the latter as of version 0.1.0
        told = replace(PAIR, extensions=[*OURS, *extensions])
        assert prepare(one, told).key != prepare(other, told).key
