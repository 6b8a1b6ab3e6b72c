"""Open Inference Protocol over gRPC: messages to ``V2Call``, ``V2Reply`` to messages.

Tensors come as typed contents or all of them as ``raw_input_contents``. The answer takes the request's form, or the
one that the request's parameter ``binary_data_output`` names. FP16 and BF16 have no typed contents: an answer that
holds one is raw. The protocol has no explain over gRPC: the request's parameter ``explain`` (bool) asks for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from kserve_wrapper.codecs.classification import asked_classes, classified
from kserve_wrapper.codecs.reserved import take_reserved
from kserve_wrapper.codecs.v2 import select_outputs
from kserve_wrapper.core.calls import Parameters, Tensor, V2Call, V2Reply
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.core.headers import ClientHeaders
from kserve_wrapper.tensors.binary import refuse_shared_memory
from kserve_wrapper.tensors.contents import FIELDS
from kserve_wrapper.tensors.datatypes import (
    DTYPES,
    bytes_elements,
    check_buffer,
    check_datatype,
    count_bytes,
    join_bytes,
)

_BINARY_OUTPUT = "binary_data_output"
_EXPLAIN = "explain"
#: KServe's samples leave the shape of BYTES open: the number of elements.
_OPEN = ((), (-1,))


@dataclass(frozen=True)
class GrpcRequest:
    """A client's request: the call, and what its answer has to look like."""

    call: V2Call
    id: str
    raw: bool
    #: Of which outputs so many of the best classes are wanted, and not the tensor.
    classes: Mapping[str, int] = field(default_factory=dict)


def decode_request(message: Any, headers: ClientHeaders) -> GrpcRequest:
    """Reads a ModelInferRequest; ``headers`` are the client's metadata.

    Raises:
        InvalidRequest: names the tensor or parameter at fault; typed and raw contents together; sizes that are not
            those of the shape.
    """
    parameters = dict(decode_parameters(message.parameters))
    explain = _pop_flag(parameters, _EXPLAIN, False)
    inputs, raw = _decode_inputs(message)
    raw = _pop_flag(parameters, _BINARY_OUTPUT, raw)
    timeout = take_reserved(parameters) if parameters else None
    classes: Dict[str, int] = {}
    for index, output in enumerate(message.outputs):
        if output.parameters:
            where, asked = f"outputs[{index}]", decode_parameters(output.parameters)
            refuse_shared_memory(asked, where)
            classes[output.name] = asked_classes(asked, where)
    outputs = [output.name for output in message.outputs] or None
    version = message.model_version or None
    call = V2Call(message.model_name, version, explain, inputs, outputs, parameters, headers, timeout)
    return GrpcRequest(call, message.id, raw, {name: count for name, count in classes.items() if count})


def encode_reply(response: Any, request: GrpcRequest, reply: V2Reply, labels: Sequence[str] = ()) -> Any:
    """Writes a ModelInferResponse, of the class ``response``.

    Raises:
        InvalidRequest: the model has no output of a requested name.
    """
    tensors = select_outputs(reply.outputs, request.call.outputs)
    if request.classes:
        tensors = classified(tensors, request.classes, labels)
    message = response(
        model_name=request.call.model,
        model_version=reply.model_version or request.call.version or "",
        id=request.id,
    )
    encode_parameters(message.parameters, reply.parameters)
    raw = request.raw or any(tensor.datatype not in FIELDS for tensor in tensors)
    for tensor in tensors:
        output = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        encode_parameters(output.parameters, tensor.parameters)
        if raw:
            message.raw_output_contents.append(bytes(tensor.data))
        else:
            getattr(output.contents, FIELDS[tensor.datatype]).extend(_elements(tensor))
    return message


def decode_parameters(parameters: Mapping[str, Any]) -> Parameters:
    """A map of InferParameter as plain values; one that is not set is not given. InvalidRequest: NaN, infinity."""
    values: Dict[str, Union[str, float, int, bool]] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            continue
        values[name] = value = getattr(parameter, choice)
        if isinstance(value, float) and not math.isfinite(value):
            # They go upstream as JSON, which has no such number.
            raise InvalidRequest(f"parameter {name!r} must be finite")
    return values


def encode_parameters(target: Any, parameters: Parameters) -> None:
    """Fills a map of InferParameter."""
    for name, value in parameters.items():
        parameter = target[name]
        if isinstance(value, bool):
            parameter.bool_param = value
        elif isinstance(value, int) and -(2**63) <= value < 2**63:
            parameter.int64_param = value
        elif not isinstance(value, str) and "double_param" in parameter.DESCRIPTOR.fields_by_name:
            parameter.double_param = float(value)
        else:
            # Numbers too: older messages know no doubles.
            parameter.string_param = str(value)


def _decode_inputs(message: Any) -> Tuple[List[Tensor], bool]:
    raw = message.raw_input_contents
    if not message.inputs:
        raise InvalidRequest("inputs must be one tensor or more")
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequest(f"{len(message.inputs)} inputs and {len(raw)} raw_input_contents: each needs one")
    tensors = []
    for index, entry in enumerate(message.inputs):
        where = f"inputs[{index}] ({entry.name!r})"
        check_datatype(entry.datatype, where)
        data = raw[index] if raw else None
        tensors.append(_decode_tensor(entry, data, where))
    return tensors, bool(raw)


def _decode_tensor(entry: Any, raw: Optional[bytes], where: str) -> Tensor:
    shape = tuple(entry.shape)
    parameters = decode_parameters(entry.parameters) if entry.parameters else {}
    if parameters:
        refuse_shared_memory(parameters, where)
    if raw is None:
        shape, raw = _decode_contents(entry, shape, where)
    elif entry.HasField("contents") and entry.contents.ByteSize():
        raise InvalidRequest(f"{where}: contents and raw_input_contents exclude each other")
    elif entry.datatype == "BYTES" and shape in _OPEN:
        shape = (count_bytes(raw, where),)
    tensor = Tensor(entry.name, entry.datatype, shape, raw, parameters)
    check_buffer(tensor)
    return tensor


def _decode_contents(entry: Any, shape: Tuple[int, ...], where: str) -> Tuple[Tuple[int, ...], bytes]:
    field = FIELDS.get(entry.datatype)
    if field is None:
        raise InvalidRequest(f"{where}: {entry.datatype} has no typed contents; send raw_input_contents")
    for descriptor, _ in entry.contents.ListFields():
        if descriptor.name != field:
            raise InvalidRequest(f"{where}: {entry.datatype} belongs into {field}, not {descriptor.name}")
    values = getattr(entry.contents, field)
    if entry.datatype == "BYTES":
        return (len(values),) if shape in _OPEN else shape, join_bytes(values)
    return shape, _pack(values, entry.datatype, where)


def _pack(values: Any, datatype: str, where: str) -> bytes:
    dtype = DTYPES[datatype]
    if dtype.kind not in "iu" or dtype.itemsize >= 4:
        return np.array(values, dtype).tobytes()
    # The 8 and 16 bit integers travel in fields of 32 bits.
    wide = np.array(values, np.int64)
    limits = np.iinfo(dtype)
    outside = np.flatnonzero((wide < limits.min) | (wide > limits.max))
    if outside.size:
        raise InvalidRequest(f"{where}: element {outside[0]} is outside {datatype}'s {limits.min} to {limits.max}")
    return wide.astype(dtype).tobytes()


def _elements(tensor: Tensor) -> List[Any]:
    if tensor.datatype == "BYTES":
        elements: List[Any] = list(bytes_elements(tensor.data))
        return elements
    numbers: List[Any] = np.frombuffer(tensor.data, DTYPES[tensor.datatype]).tolist()
    return numbers


def _pop_flag(parameters: Dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.pop(name, default)
    if not isinstance(value, bool):
        raise InvalidRequest(f"parameter {name!r} must be a bool_param")
    return value
