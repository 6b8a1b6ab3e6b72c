"""Which calls may share an upstream request, and how their rows go in and come out again. Pure functions.

Three ways:

* V1: instances are rows; lists of them are concatenated.
* V2 to a handler that tells its inputs: dimension 0 counts rows, so each input is concatenated along it. A tensor
  of one dimension less than the handler's is one row, and gets its dimension 0 first.
* V2 to a stock handler: the stock envelope takes every *input* for a row and answers one output for each, in
  order, so lists of inputs are concatenated. It reads the first of several BYTES elements only; hence each element
  becomes an input of its own.

What fits none of them goes alone and unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Hashable, List, Optional, Sequence, Tuple, TypeVar, Union

import orjson

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


class RowsMismatch(BadGateway):
    """The answer does not have the rows that were sent."""


@dataclass
class Portion:
    """One call, made ready to share an upstream request."""

    call: Call
    rows: int
    #: Bytes of data; for V1 of the whole body.
    size: int
    #: Portions of an equal key may share a request; None shares with nobody.
    key: Optional[Hashable]
    #: The answer's rows must be as many as the request's. False: taken as it comes (stock handlers, alone).
    counted: bool = True
    #: A stock handler answers each input with an output of its own.
    row_is_input: bool = False


def prepare(call: Call, metadata: ModelMetadata, merging: bool = True) -> Portion:
    """Counts a call's rows and says with what it may share a request.

    Args:
        call: validated.
        metadata: of the handler that will answer it.
        merging: False sends it alone, in the very form that it has when it shares.
    """
    portion = _prepare_v1(call, metadata) if isinstance(call, V1Call) else _prepare_v2(call, metadata)
    return portion if merging and portion.rows else _changed(portion, key=None)


def merge(portions: Sequence[Portion]) -> Call:
    """One call with the rows of all portions, in order. They have one key."""
    first = portions[0]
    if len(portions) == 1:
        return first.call
    if isinstance(first.call, V1Call):
        instances = [row for portion in portions for row in portion.call.instances]  # type: ignore[union-attr]
        return _changed(first.call, instances=instances)
    calls = [portion.call for portion in portions if isinstance(portion.call, V2Call)]
    if first.row_is_input:
        return _changed(first.call, inputs=[tensor for call in calls for tensor in call.inputs])
    columns = zip(*(call.inputs for call in calls))
    return _changed(first.call, inputs=[_concatenate(column) for column in columns])


def split(reply: Reply, portions: Sequence[Portion]) -> List[Reply]:
    """The answer's rows back to their portions, in order.

    Raises:
        RowsMismatch: the rows are not as many as those sent.
    """
    if len(portions) == 1 and not portions[0].counted:
        return [reply]
    counts = [portion.rows for portion in portions]
    if isinstance(reply, V1Reply):
        return _split_v1(reply, counts)
    if portions[0].row_is_input:
        return _split_inputs(reply, counts)
    columns = [_split_tensor(tensor, counts) for tensor in reply.outputs]
    if not columns:
        raise RowsMismatch("the model answered without any output")
    parameters = _split_parameters(reply.parameters, counts)
    return [_changed(reply, outputs=list(row), parameters=own) for row, own in zip(zip(*columns), parameters)]


def _split_parameters(parameters: Parameters, counts: Sequence[int]) -> List[Parameters]:
    """An answer's parameters for each portion.

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


def _prepare_v1(call: V1Call, metadata: ModelMetadata) -> Portion:
    ours = "row_errors" in metadata.extensions
    extra = orjson.dumps(call.extra, option=orjson.OPT_SORT_KEYS) if call.extra else b""
    # Stock handlers explain every row with the target of row 0: rows of two clients must not meet there.
    shares = ours or not call.explain
    form = _v1_form(call.instances)
    key = ("v1", call.model, call.version, call.explain, extra, form) if shares and form is not None else None
    return Portion(call, len(call.instances), call.size, key, counted=ours)


def _v1_form(instances: Sequence[Any]) -> Optional[Hashable]:
    """What rows must have in common to be read as one batch: their keys, or that they have none; None for a mixture.

    A handler takes its columns from the keys: rows of other keys could be blamed for a neighbour's slip.
    """
    forms = [frozenset(row) if isinstance(row, dict) else None for row in instances]
    return (forms[0],) if forms and forms.count(forms[0]) == len(forms) else None


def _prepare_v2(call: V2Call, metadata: ModelMetadata) -> Portion:
    size = sum([buffer_length(tensor.data) for tensor in call.inputs])
    if not ("binary_tensor_data" in metadata.extensions and metadata.inputs):
        return _prepare_stock(call, size)
    inputs = _align(call.inputs, metadata.inputs)
    rows = inputs[0].shape[0] if inputs else 0
    if not inputs or any(tensor.shape[0] != rows for tensor in inputs):
        return Portion(call, 1, size, None, counted=False)
    aligned = call if inputs is call.inputs else _changed(call, inputs=inputs)
    return Portion(aligned, rows, size, _key(call, inputs, 1))


def _prepare_stock(call: V2Call, size: int) -> Portion:
    if len(call.inputs) != 1:
        return Portion(call, max(1, len(call.inputs)), size, None, counted=False)
    tensor = call.inputs[0]
    inputs = [tensor]
    if tensor.datatype == "BYTES" and tensor.shape != (1,):
        inputs = [_changed(tensor, shape=(1,), data=join_bytes([e])) for e in bytes_elements(tensor.data)]
    # Its own parameters and the requested outputs are lost on the stock envelope; the rest may be seen by a handler.
    key = None if call.explain or not inputs else _key(call, inputs[:1], 0)
    return Portion(_changed(call, inputs=inputs), len(inputs), size, key, len(inputs) > 1, row_is_input=True)


def _key(call: V2Call, inputs: Sequence[Tensor], batch_dimensions: int) -> Hashable:
    names = tuple([tensor.name for tensor in inputs]) if batch_dimensions else ()
    forms = tuple([(t.datatype, t.shape[batch_dimensions:], _freeze(t.parameters)) for t in inputs])
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
    if tensor.datatype == "BYTES" and known.datatype != "BYTES":
        # Encoded rows in the place of numbers: one element a row.
        return _changed(tensor, name=known.name) if len(shape) == 1 else None
    if not known.shape or known.shape[0] >= 0 or (tensor.datatype == "BYTES") != (known.datatype == "BYTES"):
        return None
    if len(shape) == len(known.shape) - 1:
        shape = (1, *shape)
    if not _fits(shape[1:], known.shape[1:]):
        return None
    if shape is tensor.shape and tensor.name == known.name:
        return tensor
    return _changed(tensor, name=known.name, shape=shape)


def _fits(shape: Tuple[int, ...], known: Tuple[int, ...]) -> bool:
    """Each dimension is the known one, or that is variable."""
    return shape == known or (len(shape) == len(known) and all(k in (-1, s) for k, s in zip(known, shape)))


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
    for count in counts:
        replies.append(V1Reply(reply.results[start : start + count]))
        start += count
    return replies


def _split_inputs(reply: V2Reply, counts: Sequence[int]) -> List[Reply]:
    if len(reply.outputs) != sum(counts):
        raise RowsMismatch(f"the model answered {len(reply.outputs)} outputs to {sum(counts)} inputs")
    replies: List[Reply] = []
    start = 0
    for count in counts:
        outputs = reply.outputs[start : start + count]
        replies.append(_changed(reply, outputs=outputs if count == 1 else [_stack(outputs)]))
        start += count
    return replies


def _stack(outputs: Sequence[Tensor]) -> Tensor:
    """The answers to the elements of one BYTES input, as one output with a dimension 0 that counts them."""
    first = outputs[0]
    if any((tensor.datatype, tensor.shape) != (first.datatype, first.shape) for tensor in outputs):
        raise RowsMismatch("the model answered the elements of one input with different datatypes or shapes")
    tail = () if first.shape == (1,) else first.shape
    return _changed(first, shape=(len(outputs), *tail), data=b"".join([tensor.data for tensor in outputs]))


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
