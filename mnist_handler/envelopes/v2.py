"""KServe V2 (Open Inference Protocol): a JSON request, with or without binary tensor data, to a Request.

``parameters`` hold text, numbers and booleans at every level. Those that steer the transport
(``binary_data_size``, ``binary_data``, ``binary_data_output``) are not handed on. What is absent may be null.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

from mnist_handler.envelopes.datatypes import DATATYPES, Array, Buffer
from mnist_handler.envelopes.jsoncodec import loads
from mnist_handler.envelopes.tensors import read_binary, read_json, read_shape
from mnist_handler.envelopes.v2_reply import V2Writer
from mnist_handler.requests import InputValues, Parameter, Request, RequestError

_SIZE = "binary_data_size"


class InputTensor(NamedTuple):
    name: str
    datatype: str
    shape: Tuple[int, ...]
    #: An array of this shape; for BYTES of one dimension a list.
    values: Union[Array, List[bytes]]
    parameters: Mapping[str, Parameter]
    binary: bool


def is_v2(document: Mapping[str, Any]) -> bool:
    """Whether a document is a V2 request: its inputs are objects with a datatype or a shape."""
    inputs = document.get("inputs")
    if "instances" in document or not isinstance(inputs, list):
        return False
    if not inputs:
        return "id" in document or "outputs" in document
    return isinstance(inputs[0], dict) and ("datatype" in inputs[0] or "shape" in inputs[0])


def split_body(body: Buffer, header_length: str) -> Tuple[Mapping[str, Any], memoryview]:
    """The JSON part of a body with binary tensor data, and the bytes behind it.

    Raises:
        RequestError: 400; a length that is no number or beyond the body, or a JSON part that is none.
    """
    text = header_length.strip()
    length = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not 0 < length <= len(body):
        raise RequestError(400, f"Inference-Header-Content-Length must be between 1 and the body's {len(body)} bytes")
    try:
        document = loads(bytes(memoryview(body)[:length]))
    except ValueError as error:
        raise RequestError(400, f"the first {length} bytes are not JSON: {error}") from None
    if not isinstance(document, dict):
        raise RequestError(400, "the JSON part must be an object")
    return document, memoryview(body)[length:]


def parse(document: Mapping[str, Any], tail: Optional[memoryview], explain: bool) -> Tuple[V2Writer, Request]:
    """Reads a V2 request.

    Args:
        document: its JSON object.
        tail: the binary tensor data, or None where the request came without a header length.
        explain: the verb.

    Raises:
        RequestError: 400, naming the input or output at fault.
    """
    writer, parameters = read_writer(document)
    inputs = [(tensor.name, InputValues(tensor.values, tensor.parameters)) for tensor in read_inputs(document, tail)]
    return writer, Request(inputs, explain, parameters, writer.outputs)


def read_writer(document: Mapping[str, Any]) -> Tuple[V2Writer, Mapping[str, Parameter]]:
    """How the client wants its answer, and the request's parameters."""
    id_ = document.get("id")
    if id_ is not None and not isinstance(id_, str):
        raise RequestError(400, '"id" must be text')
    parameters = _read_parameters(document.get("parameters"), "the request")
    default = _pop_flag(parameters, "binary_data_output", "the request")
    outputs, binary = _read_outputs(document.get("outputs"))
    return V2Writer(id_, outputs, binary, bool(default)), parameters


def read_inputs(document: Mapping[str, Any], tail: Optional[memoryview]) -> List[InputTensor]:
    """The input tensors in order; every byte of ``tail`` belongs to exactly one of them."""
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise RequestError(400, '"inputs" must be a list of at least one tensor')
    tensors: List[InputTensor] = []
    start = 0
    for index, entry in enumerate(inputs):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise RequestError(400, f'inputs[{index}] must be an object with a "name"')
        try:
            tensor, start = _read_input(name, entry, tail, start)
        except ValueError as error:
            raise RequestError(400, f'input "{name}": {error}') from None
        tensors.append(tensor)
    if tail is not None and start != len(tail):
        raise RequestError(400, f"the inputs' binary_data_size add up to {start} bytes, {len(tail)} came")
    return tensors


def _read_input(name: str, entry: Mapping[str, Any], tail: Optional[memoryview], start: int) -> Tuple[InputTensor, int]:
    """One input, and where the next one's binary data start."""
    datatype = entry.get("datatype")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise ValueError(f"its datatype must be one of {', '.join(DATATYPES)}")
    shape = read_shape(entry.get("shape"), datatype)
    parameters = _read_parameters(entry.get("parameters"), f'input "{name}"')
    size = parameters.pop(_SIZE, None)
    values: Union[Array, List[bytes]]
    if size is None:
        values = read_json(entry.get("data"), datatype, shape)
    else:
        end = start + _check_size(size, tail, start)
        if entry.get("data") is not None:
            raise ValueError(f"it has both data and {_SIZE}: send one of them")
        values = read_binary((tail or memoryview(b""))[start:end], datatype, shape)
        start = end
    resolved = (len(values),) if shape is None else shape
    return InputTensor(name, datatype, resolved, values, parameters, size is not None), start


def _check_size(size: Parameter, tail: Optional[memoryview], start: int) -> int:
    if tail is None:
        raise ValueError(f"{_SIZE} needs the request header Inference-Header-Content-Length")
    if type(size) is not int or size < 0:
        raise ValueError(f"{_SIZE} must be an integer of 0 and above")
    if size > len(tail) - start:
        raise ValueError(f"{_SIZE} is {size}, but {len(tail) - start} bytes are left")
    return size


def _read_parameters(value: Any, where: str) -> Dict[str, Parameter]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestError(400, f'"parameters" of {where} must be an object')
    for key, item in value.items():
        if not isinstance(item, (str, int, float)):
            raise RequestError(400, f'parameter "{key}" of {where} must be text, a number or a boolean')
    return dict(value)


def _pop_flag(parameters: Dict[str, Parameter], key: str, where: str) -> Optional[bool]:
    flag = parameters.pop(key, None)
    if flag is not None and not isinstance(flag, bool):
        raise RequestError(400, f'parameter "{key}" of {where} must be true or false')
    return flag


def _read_outputs(value: Any) -> Tuple[Optional[List[str]], Dict[str, bool]]:
    """Names of the outputs asked for (None for all), and for which of them the client chose binary or JSON."""
    if value is None or value == []:
        return None, {}
    if not isinstance(value, list):
        raise RequestError(400, '"outputs" must be a list')
    names: List[str] = []
    binary: Dict[str, bool] = {}
    for index, entry in enumerate(value):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise RequestError(400, f'outputs[{index}] must be an object with a "name"')
        if name in names:
            raise RequestError(400, f'output "{name}" is asked for twice')
        names.append(name)
        flag = _pop_flag(
            _read_parameters(entry.get("parameters"), f'output "{name}"'), "binary_data", f'output "{name}"'
        )
        if flag is not None:
            binary[name] = flag
    return names, binary
