"""V2 tensors on the wire: JSON entries, and binary tensor data (a JSON header, then the tensors' bytes).

Both directions, for requests (``inputs``) and replies (``outputs``). Binary data are never copied on reading:
the tensors are views of the body.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple, Union

import orjson

from kserve_wrapper.core.calls import Buffer, Parameters, Tensor
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.tensors.contents import encode_contents
from kserve_wrapper.tensors.datatypes import check_buffer, check_datatype, encode_elements, json_elements

#: HTTP header with the length in bytes of the JSON in front of the binary data.
HEADER_LENGTH = "Inference-Header-Content-Length"
_SIZE = "binary_data_size"


def parse_body(body: Buffer, header_length: Optional[str]) -> Tuple[Dict[str, Any], memoryview]:
    """Splits a body into its JSON object and the binary data behind it.

    Args:
        body: the whole body.
        header_length: the value of ``Inference-Header-Content-Length``, or None: all of the body is JSON.

    Raises:
        InvalidRequest: a length that is no number or beyond the body; JSON that is none or no object.
    """
    view = memoryview(body)
    end = len(view)
    if header_length is not None:
        # More digits than any length has: Python would not even read them.
        digits = header_length.lstrip("0") or header_length[-1:]
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20) or int(digits) > end:
            raise InvalidRequest(f"{HEADER_LENGTH} must be a number from 0 to the body's {end} bytes")
        end = int(digits)
    try:
        header = orjson.loads(view[:end])
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise InvalidRequest("the body must be a JSON object")
    return header, view[end:]


def parse_tensors(entries: Any, binary: Buffer, where: str) -> List[Tensor]:
    """Reads the list of tensors from a V2 JSON object and the binary data behind it.

    Args:
        entries: the value of ``inputs`` or ``outputs``.
        binary: what follows the JSON; tensors with the parameter ``binary_data_size`` take theirs in order.
        where: ``inputs`` or ``outputs``, for error messages.

    Raises:
        InvalidRequest: names the tensor and what is wrong with it; also when binary data are left over.
    """
    if not isinstance(entries, list) or not entries:
        raise InvalidRequest(f"{where} must be a list of one tensor or more")
    view = memoryview(binary)
    tensors = []
    position = 0
    for index, entry in enumerate(entries):
        tensor, size = _parse_tensor(entry, view[position:], f"{where}[{index}]")
        tensors.append(tensor)
        position += size
    if position != len(view):
        raise InvalidRequest(f"{where} take {position} bytes of binary data, the body has {len(view)}")
    return tensors


def compose_tensors(
    tensors: Iterable[Tensor], binary: Union[bool, Mapping[str, bool]]
) -> Tuple[List[Dict[str, Any]], List[Buffer]]:
    """The JSON entries of tensors, and the data that follow the JSON.

    Args:
        tensors: in order.
        binary: True sends every tensor as binary data, False as JSON; or which of the two by the tensor's
            name (JSON for names it lacks).

    Raises:
        InvalidRequest: a tensor that has no JSON form (see ``datatypes.json_elements``).
    """
    entries: List[Dict[str, Any]] = []
    chunks: List[Buffer] = []
    for tensor in tensors:
        parameters: Dict[str, Any] = dict(tensor.parameters)
        entry: Dict[str, Any] = {
            "name": tensor.name,
            "shape": list(tensor.shape),
            "datatype": tensor.datatype,
        }
        if binary if isinstance(binary, bool) else binary.get(tensor.name, False):
            parameters[_SIZE] = memoryview(tensor.data).nbytes
            chunks.append(tensor.data)
        else:
            entry["data"] = json_elements(tensor.datatype, tensor.data)
        if parameters:
            entry["parameters"] = parameters
        entries.append(entry)
    return entries, chunks


def compose_body(header: Mapping[str, Any], chunks: List[Buffer]) -> Tuple[bytes, Optional[int]]:
    """The body, and the value of ``Inference-Header-Content-Length`` (None without binary data)."""
    text = orjson.dumps(header, option=orjson.OPT_SERIALIZE_NUMPY)
    if not chunks:
        return text, None
    return b"".join([text, *chunks]), len(text)


def check_parameters(parameters: Any, where: str) -> Parameters:
    """Strings, numbers and booleans by name. One that is null is not given; None stands for none.

    Raises:
        InvalidRequest: no object; names a parameter that is a list or an object.
    """
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidRequest(f"{where}: parameters must be a JSON object")
    for name, value in parameters.items():
        if value is None:
            return check_parameters({n: given for n, given in parameters.items() if given is not None}, where)
        if not isinstance(value, (str, int, float, bool)):
            raise InvalidRequest(
                f"{where}: parameter {name!r} must be a string, a number or a boolean; send a list or an object as text"
            )
    return parameters


def refuse_shared_memory(parameters: Parameters, where: str) -> None:
    """Raises InvalidRequest for a tensor that is to be in memory shared with the client."""
    for name in parameters:
        if name.startswith("shared_memory_"):
            raise InvalidRequest(
                f"{where}: parameter {name!r}: shared memory is not offered here, send the tensor in the request"
            )


def _parse_tensor(entry: Any, binary: memoryview, where: str) -> Tuple[Tensor, int]:
    if not isinstance(entry, dict):
        raise InvalidRequest(f"{where} must be a JSON object")
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    if not isinstance(name, str):
        raise InvalidRequest(f"{where}: name must be a string")
    where = f"{where} ({name!r})"
    check_datatype(datatype, where)
    if type(shape) is not list and not (type(shape) is int and (shape >= 0 or (shape == -1 and datatype == "BYTES"))):
        raise InvalidRequest(f"{where}: shape must be a list of integers")
    parameters = check_parameters(entry.get("parameters"), where)
    if _SIZE in parameters:
        return _take_binary(entry, parameters, binary, where)
    if parameters:
        refuse_shared_memory(parameters, where)
    if "data" in entry:
        resolved, data = encode_elements(entry["data"], str(datatype), shape, where)
    elif "contents" in entry:
        resolved, data = encode_contents(entry["contents"], str(datatype), shape, where)
    else:
        raise InvalidRequest(f"{where}: neither data nor the parameter {_SIZE}")
    return Tensor(name, str(datatype), resolved, data, parameters), 0


def _take_binary(entry: Dict[str, Any], parameters: Parameters, binary: memoryview, where: str) -> Tuple[Tensor, int]:
    size = parameters[_SIZE]
    if "data" in entry:
        raise InvalidRequest(f"{where}: data and {_SIZE} exclude each other")
    if type(size) is not int or not 0 <= size <= len(binary):
        raise InvalidRequest(f"{where}: {_SIZE} {size!r} must be a number of the {len(binary)} bytes left")
    shape = entry["shape"]
    if type(shape) is int and shape >= 0:
        shape = [shape]
    if type(shape) is int or not set(map(type, shape)) <= {int}:
        raise InvalidRequest(f"{where}: shape must be a list of integers where data are binary")
    rest: Parameters = {}
    if len(parameters) > 1:
        rest = {key: value for key, value in parameters.items() if key != _SIZE}
        refuse_shared_memory(rest, where)
    tensor = Tensor(entry["name"], entry["datatype"], tuple(shape), binary[:size], rest)
    check_buffer(tensor)
    return tensor, size
