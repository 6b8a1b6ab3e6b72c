"""Open Inference Protocol over HTTP: JSON, or JSON and binary tensor data.

The tensors themselves are read and written by ``kserve_wrapper.tensors.binary``, which the upstream client shares; here
is what only clients say: ``id``, which outputs, and which of them as binary data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from kserve_wrapper.codecs.classification import asked_classes, classified
from kserve_wrapper.codecs.reserved import take_reserved
from kserve_wrapper.core.calls import Buffer, Tensor, V2Call, V2Reply
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.core.headers import ClientHeaders
from kserve_wrapper.tensors.binary import (
    check_parameters,
    compose_body,
    compose_tensors,
    parse_body,
    parse_tensors,
    refuse_shared_memory,
)

#: Request parameter: the default of every output's ``binary_data``.
_BINARY_OUTPUT = "binary_data_output"


@dataclass
class V2Request:
    """A client's request: the call, and what its answer has to look like."""

    call: V2Call
    id: Optional[str]
    #: Which outputs go out as binary data: all, none, or by name.
    binary: Union[bool, Mapping[str, bool]]
    #: Of which outputs so many of the best classes are wanted, and not the tensor.
    classes: Mapping[str, int] = field(default_factory=dict)


def decode_request(
    body: Buffer,
    header_length: Optional[str],
    model: str,
    version: Optional[str],
    explain: bool,
    headers: ClientHeaders,
) -> V2Request:
    """Reads a V2 request.

    Args:
        body: the whole body.
        header_length: the header ``Inference-Header-Content-Length``; None where all of the body is JSON.
        model: name out of the path.
        version: version out of the path, or None.
        explain: the verb.
        headers: the client's request headers.

    Raises:
        InvalidRequest: names the tensor or field at fault.
    """
    content, data = parse_body(body, header_length)
    identifier = content.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise InvalidRequest("id must be a string")
    parameters = dict(check_parameters(content.get("parameters"), "request"))
    default = _flag(parameters.pop(_BINARY_OUTPUT, False), f"request: parameter {_BINARY_OUTPUT!r}")
    timeout = take_reserved(parameters) if parameters else None
    outputs, binary, classes = _requested_outputs(content.get("outputs"), default)
    inputs = parse_tensors(content.get("inputs"), data, "inputs")
    call = V2Call(model, version, explain, inputs, outputs, parameters, headers, timeout)
    return V2Request(call, identifier, binary, classes)


def encode_reply(request: V2Request, reply: V2Reply, labels: Sequence[str] = ()) -> Tuple[bytes, Optional[int]]:
    """The body, and the value of ``Inference-Header-Content-Length`` (None: all of it is JSON).

    Raises:
        InvalidRequest: the model has no output of a requested name, or a tensor has no JSON form.
    """
    tensors = select_outputs(reply.outputs, request.call.outputs)
    if request.classes:
        tensors = classified(tensors, request.classes, labels)
    header: Dict[str, Any] = {} if request.id is None else {"id": request.id}
    header["model_name"] = request.call.model
    version = reply.model_version or request.call.version
    if version is not None:
        header["model_version"] = version
    if reply.parameters:
        header["parameters"] = dict(reply.parameters)
    header["outputs"], chunks = compose_tensors(tensors, request.binary)
    return compose_body(header, chunks)


def select_outputs(tensors: List[Tensor], names: Optional[List[str]]) -> List[Tensor]:
    """The tensors asked for, in the order asked; all of them for None. InvalidRequest for an unknown name."""
    if names is None:
        return tensors
    known = {tensor.name: tensor for tensor in tensors}
    for name in names:
        if name not in known:
            raise InvalidRequest(f"the model has no output {name!r}; it answers {', '.join(known)}")
    return [known[name] for name in names]


def _requested_outputs(
    entries: Any, default: bool
) -> Tuple[Optional[List[str]], Union[bool, Mapping[str, bool]], Mapping[str, int]]:
    if entries is None:
        return None, default, {}
    if not isinstance(entries, list):
        raise InvalidRequest("outputs must be a list of requested outputs")
    if not entries:
        return None, default, {}
    binary: Dict[str, bool] = {}
    classes: Dict[str, int] = {}
    for index, entry in enumerate(entries):
        name, flag, count = _requested_output(entry, default, f"outputs[{index}]")
        if name in binary:
            raise InvalidRequest(f"outputs[{index}]: {name!r} is asked for twice")
        binary[name] = flag
        if count:
            classes[name] = count
    return list(binary), binary, classes


def _requested_output(entry: Any, default: bool, where: str) -> Tuple[str, bool, int]:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise InvalidRequest(f"{where} must be a JSON object with a name")
    parameters = check_parameters(entry.get("parameters"), where)
    refuse_shared_memory(parameters, where)
    flag = _flag(parameters.get("binary_data", default), f"{where}: parameter 'binary_data'")
    return entry["name"], flag, asked_classes(parameters, where)


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(f"{where} must be true or false")
    return value
