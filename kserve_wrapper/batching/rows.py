"""Which calls may share an upstream request, and how their rows go in and come out again. Pure functions.

A call shares only where the handler answers each row by itself, which the handler declares (the metadata extension
``independent_rows``) or its operator. Then there are three ways:

* V1: instances are rows; lists of them are concatenated.
* V2 to a handler that tells its inputs: dimension 0 counts rows, so each input is concatenated along it. A tensor
  of one dimension less than the handler's is one row, and gets its dimension 0 first.
  Where the handler pads rows of unequal lengths (``ragged_rows``, of several inputs ``ragged_inputs``), each length is
  an input of its own; where it fills up the rows of an output (``output_lengths``), each call gets them in the length
  of its own longest.
* V2 to a handler behind the stock envelope, which takes every *input* for a row and answers one output for each, in
  order: inputs of several calls, one each, become the inputs of one.

What fits none of them goes alone and unchanged. So does every call to any other handler: nothing in its answers can
tell for sure whose row is whose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Collection, Dict, Hashable, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union

import orjson

from kserve_wrapper.batching.lengths import LENGTH, trim
from kserve_wrapper.core.calls import (
    Call,
    ModelMetadata,
    Parameters,
    Reply,
    Tensor,
    TensorMetadata,
    V1Call,
    V1Reply,
    V2Call,
    V2Reply,
)
from kserve_wrapper.core.errors import BadGateway
from kserve_wrapper.tensors.datatypes import buffer_length, bytes_elements, join_bytes

T = TypeVar("T")
#: Of an explanation these have one element a row, whatever the handler fills up.
_FIXED = {"convergence_delta", "target"}


class RowsMismatch(BadGateway):
    """The answer does not have the rows that were sent."""


@dataclass
class BatchSlice:
    """One call, made ready to share an upstream request."""

    call: Call
    rows: int
    #: Bytes of data; for V1 of the whole body.
    size: int
    #: Slices of an equal key may share a request; None shares with nobody.
    key: Optional[Hashable]
    #: The answer's rows must be as many as the request's. False: taken as it comes.
    counted: bool = True
    #: The stock envelope answers each input with an output of its own.
    row_is_input: bool = False
    #: The handler tells in outputs ``NAME_length`` how long rows are that it filled up.
    lengths: bool = False
    #: Request headers of the client that the handler gets to see.
    headers: Mapping[str, str] = field(default_factory=dict)


def answers_by_row(model: str, metadata: ModelMetadata, declared: Collection[str] = ()) -> bool:
    """Whether calls to a handler may share upstream requests.

    Args:
        model: its name.
        metadata: what the handler tells.
        declared: models whose operator says so.
    """
    return "independent_rows" in metadata.extensions or model in declared


def prepare(call: Call, metadata: ModelMetadata, by_row: bool, sharing: bool = True) -> BatchSlice:
    """Counts a call's rows and says with what it may share a request.

    Args:
        call: validated.
        metadata: of the handler that will answer it.
        by_row: what ``answers_by_row`` says of the handler.
        sharing: False sends it alone, in the very form that it has when it shares.
    """
    made = _prepare_v1(call, metadata, by_row) if isinstance(call, V1Call) else _prepare_v2(call, metadata, by_row)
    return made if by_row and sharing and made.rows else _changed(made, key=None)


def merge(slices: Sequence[BatchSlice]) -> Call:
    """One call with the rows of all slices, in order. They have one key."""
    first = slices[0]
    if len(slices) == 1:
        return first.call
    if isinstance(first.call, V1Call):
        instances = [row for part in slices for row in part.call.instances]  # type: ignore[union-attr]
        return _changed(first.call, instances=instances)
    calls = [part.call for part in slices if isinstance(part.call, V2Call)]
    if first.row_is_input:
        return _changed(first.call, inputs=[tensor for call in calls for tensor in call.inputs])
    columns = zip(*(call.inputs for call in calls))
    inputs = [tensor for column in columns for tensor in _concatenate_alike(column)]
    return _changed(first.call, inputs=inputs)


def split(reply: Reply, slices: Sequence[BatchSlice]) -> List[Reply]:
    """The answer's rows back to their slices, in order.

    Raises:
        RowsMismatch: the rows are not as many as those sent.
    """
    if len(slices) == 1 and not slices[0].counted:
        return [reply]
    counts = [part.rows for part in slices]
    if isinstance(reply, V1Reply):
        return _split_v1(reply, counts)
    if slices[0].row_is_input:
        return _split_inputs(reply, counts)
    columns = [_split_tensor(tensor, counts) for tensor in reply.outputs]
    if not columns:
        raise RowsMismatch("the model answered without any output")
    parameters = _split_parameters(reply.parameters, counts)
    rows = [list(row) for row in zip(*columns)]
    if slices[0].lengths and len(slices) > 1:
        rows = [trim(row) for row in rows]
    return [_changed(reply, outputs=row, parameters=own) for row, own in zip(rows, parameters)]


def _split_parameters(parameters: Parameters, counts: Sequence[int]) -> List[Parameters]:
    """An answer's parameters for each part.

    A text with one comma-separated entry a row (the handler's ``targets``) is cut by rows; of what speaks of the
    whole batch, no request that was merged with others is told.
    """
    if len(counts) == 1 or not parameters:
        return [parameters] * len(counts)
    own: List[Dict[str, Union[str, float, int, bool]]] = [{} for _ in counts]
    for name, value in parameters.items():
        entries = value.split(",") if isinstance(value, str) else []
        if len(entries) != sum(counts):
            continue
        start = 0
        for index, count in enumerate(counts):
            own[index][name] = ",".join(entries[start : start + count])
            start += count
    return list(own)


def _changed(value: T, **fields: Any) -> T:
    """What ``dataclasses.replace`` does, at a tenth of its cost, which every request pays several times."""
    changed = object.__new__(type(value))
    changed.__dict__.update(value.__dict__, **fields)
    return changed


def _prepare_v1(call: V1Call, metadata: ModelMetadata, by_row: bool) -> BatchSlice:
    ours = "row_errors" in metadata.extensions
    extra = orjson.dumps(call.extra, option=orjson.OPT_SORT_KEYS) if call.extra else b""
    # Stock handlers explain every row with the target of row 0: rows of two clients must not meet there.
    shares = (ours or not call.explain) and not _names_rows(call.explain, call.extra, call.extra.get("parameters"))
    form = _v1_form(call.instances, "ragged_rows" in metadata.extensions) if by_row and shares else None
    key = None if form is None else ("v1", call.model, call.version, call.explain, extra, form)
    return BatchSlice(call, len(call.instances), call.size, key, counted=ours and by_row)


def _v1_form(instances: Sequence[Any], ragged: bool) -> Optional[Hashable]:
    """What rows must have in common to be read as one batch: keys and shapes; None for a mixture.

    A handler takes its columns from the keys and stacks what it finds there: rows of other keys or shapes could be
    blamed for a neighbour's.

    Args:
        instances: the rows.
        ragged: the handler pads rows of unequal shapes itself.
    """
    forms = [_row_form(row, ragged) for row in instances]
    return (forms[0],) if forms and forms.count(forms[0]) == len(forms) else None


def _row_form(row: Any, ragged: bool) -> Hashable:
    if isinstance(row, dict):
        return frozenset(row) if ragged else frozenset([(key, _shape(value)) for key, value in row.items()])
    return isinstance(row, list) if ragged else _shape(row)


def _shape(value: Any) -> Tuple[int, ...]:
    """Of nested lists, as far as their first elements show it."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _prepare_v2(call: V2Call, metadata: ModelMetadata, by_row: bool) -> BatchSlice:
    size = sum([buffer_length(tensor.data) for tensor in call.inputs])
    if not ("binary_tensor_data" in metadata.extensions and metadata.inputs):
        return _prepare_stock(call, size)
    inputs = _align(call.inputs, metadata.inputs)
    rows = inputs[0].shape[0] if inputs else 0
    if not inputs or any(tensor.shape[0] != rows for tensor in inputs):
        return BatchSlice(call, 1, size, None, counted=False)
    aligned = call if inputs is call.inputs else _changed(call, inputs=inputs)
    shares = not _names_rows(call.explain, call.parameters, *(tensor.parameters for tensor in inputs))
    shares = shares and _tells_lengths(call, metadata)
    key = _key(call, inputs, 1, _any_length(inputs, metadata)) if shares else None
    return BatchSlice(aligned, rows, size, key, counted=by_row, lengths="output_lengths" in metadata.extensions)


def _names_rows(explain: bool, *parameters: Any) -> bool:
    """Whether a target has one class for each of its rows, which would fit other rows if more were beside them."""
    found = [given.get("target") for given in parameters if isinstance(given, Mapping)] if explain else []
    return any(isinstance(target, str) and "," in target for target in found)


def _tells_lengths(call: V2Call, metadata: ModelMetadata) -> bool:
    """Whether the answer to a call will tell how long the rows are of each output that the handler fills up."""
    if call.outputs is None or "output_lengths" not in metadata.extensions:
        return True
    varying = {tensor.name for tensor in metadata.outputs if tensor.shape[1:2] == (-1,)}
    if call.explain:
        varying = {name for name in call.outputs if name not in _FIXED and not name.endswith(LENGTH)}
    return all(f"{name}{LENGTH}" in call.outputs for name in varying.intersection(call.outputs))


def _any_length(inputs: Sequence[Tensor], metadata: ModelMetadata) -> Optional[Mapping[str, Tuple[int, ...]]]:
    """Shapes of a row by input where the handler pads: rows of other lengths may go with them, each in its own."""
    wanted = "ragged_rows" if len(metadata.inputs) == 1 else "ragged_inputs"
    if wanted not in metadata.extensions or len(metadata.inputs) != len(inputs):
        return None
    return {tensor.name: tensor.shape[1:] for tensor in metadata.inputs}


def _prepare_stock(call: V2Call, size: int) -> BatchSlice:
    """One input of one element or of numbers is one row; all else goes as the client sent it.

    Several elements of BYTES are the client's own form, of which TorchServe's envelope reads the first: who sends the
    call makes an input of each.
    """
    alone = len(call.inputs) != 1 or call.explain
    if alone or (call.inputs[0].datatype == "BYTES" and call.inputs[0].shape != (1,)):
        return BatchSlice(call, max(1, len(call.inputs)), size, None, counted=False)
    return BatchSlice(call, 1, size, _key(call, call.inputs, 0), counted=False, row_is_input=True)


def _key(
    call: V2Call,
    inputs: Sequence[Tensor],
    batch_dimensions: int,
    padded: Optional[Mapping[str, Tuple[int, ...]]] = None,
) -> Hashable:
    names = tuple([tensor.name for tensor in inputs]) if batch_dimensions else ()
    shapes = [t.shape[batch_dimensions:] if padded is None else padded[t.name] for t in inputs]
    forms = tuple([(t.datatype, shape, _freeze(t.parameters)) for t, shape in zip(inputs, shapes)])
    outputs = None if call.outputs is None else tuple(call.outputs)
    return ("v2", call.model, call.version, call.explain, names, forms, outputs, _freeze(call.parameters))


def _freeze(parameters: Parameters) -> str:
    """Text that differs wherever parameters do: as dictionary keys, 1, 1.0 and True would be one."""
    return repr(sorted(parameters.items())) if parameters else ""


def _align(inputs: List[Tensor], known: Sequence[TensorMetadata]) -> Optional[List[Tensor]]:
    """The inputs with the handler's names and a dimension 0 that counts rows; None where that cannot be told."""
    if len(known) == 1 and len(inputs) == 1:
        only = _with_rows(inputs[0], known[0])
        if only is inputs[0]:
            return inputs
        return None if only is None else [only]
    by_name = {tensor.name: tensor for tensor in known}
    if len({tensor.name for tensor in inputs}) != len(inputs):
        return None
    aligned = [_with_rows(t, by_name[t.name]) if t.name in by_name else None for t in inputs]
    rows = [tensor for tensor in aligned if tensor is not None]
    return rows if len(rows) == len(inputs) else None


def _with_rows(tensor: Tensor, known: TensorMetadata) -> Optional[Tensor]:
    shape = tensor.shape
    if tensor.datatype == "BYTES" and len(shape) > 1 and (known.datatype != "BYTES" or len(known.shape) == 1):
        # One element a row, which clients of servers that batch by dimension 0 send as [rows, 1].
        shape = _without_ones(shape)
    if tensor.datatype == "BYTES" and known.datatype != "BYTES":
        # Encoded rows in the place of numbers.
        return _changed(tensor, name=known.name, shape=shape) if len(shape) == 1 else None
    if not known.shape or known.shape[0] >= 0 or (tensor.datatype == "BYTES") != (known.datatype == "BYTES"):
        return None
    if len(shape) == len(known.shape) - 1:
        shape = (1, *shape)
    if not _fits(shape[1:], known.shape[1:]):
        return None
    if shape is tensor.shape and tensor.name == known.name:
        return tensor
    return _changed(tensor, name=known.name, shape=shape)


def _without_ones(shape: Tuple[int, ...]) -> Tuple[int, ...]:
    return shape[:1] if all(size == 1 for size in shape[1:]) else shape


def _fits(shape: Tuple[int, ...], known: Tuple[int, ...]) -> bool:
    """Each dimension is the known one, or that is variable."""
    return shape == known or (len(shape) == len(known) and all(k in (-1, s) for k, s in zip(known, shape)))


def _concatenate_alike(tensors: Sequence[Tensor]) -> List[Tensor]:
    """One tensor for each run of rows of one shape: a handler that pads an input takes several of it, in order."""
    joined: List[Tensor] = []
    start = 0
    for stop in range(1, len(tensors) + 1):
        if stop == len(tensors) or tensors[stop].shape[1:] != tensors[start].shape[1:]:
            joined.append(_concatenate(tensors[start:stop]))
            start = stop
    return joined


def _concatenate(tensors: Sequence[Tensor]) -> Tensor:
    rows = sum([tensor.shape[0] for tensor in tensors])
    first = tensors[0]
    return _changed(first, shape=(rows, *first.shape[1:]), data=b"".join([tensor.data for tensor in tensors]))


def _split_v1(reply: V1Reply, counts: Sequence[int]) -> List[Reply]:
    if not isinstance(reply.results, list) or len(reply.results) != sum(counts):
        raise RowsMismatch(f"the model did not answer each of the {sum(counts)} instances")
    if len(counts) == 1:
        return [reply]
    replies: List[Reply] = []
    start = 0
    for count, own in zip(counts, _split_parameters(reply.parameters, counts)):
        replies.append(V1Reply(reply.results[start : start + count], own))
        start += count
    return replies


def _split_inputs(reply: V2Reply, counts: Sequence[int]) -> List[Reply]:
    if len(reply.outputs) != len(counts):
        raise RowsMismatch(f"the model answered {len(reply.outputs)} outputs to {len(counts)} inputs")
    return [_changed(reply, outputs=[output]) for output in reply.outputs]


def _split_tensor(tensor: Tensor, counts: Sequence[int]) -> List[Tensor]:
    rows = sum(counts)
    if not tensor.shape or tensor.shape[0] != rows:
        raise RowsMismatch(f"output {tensor.name!r} does not have the {rows} rows of the request")
    if len(counts) == 1:
        return [tensor]
    tail = tensor.shape[1:]
    chunks = _row_chunks(tensor, counts)
    return [_changed(tensor, shape=(count, *tail), data=chunk) for count, chunk in zip(counts, chunks)]


def _row_chunks(tensor: Tensor, counts: Sequence[int]) -> List[Any]:
    rows = sum(counts)
    view = memoryview(tensor.data)
    chunks: List[Any] = []
    start = 0
    if tensor.datatype == "BYTES":
        elements = bytes_elements(view)
        width = len(elements) // rows
        for count in counts:
            chunks.append(join_bytes(elements[start * width : (start + count) * width]))
            start += count
        return chunks
    width = len(view) // rows
    for count in counts:
        chunks.append(view[start * width : (start + count) * width])
        start += count
    return chunks
