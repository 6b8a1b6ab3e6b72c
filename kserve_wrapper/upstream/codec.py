"""Calls as TorchServe's workers take them, and their answers as replies. Pure functions."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional
from urllib.parse import quote

import numpy as np
import orjson

from kserve_wrapper.core.calls import Call, ModelMetadata, Reply, Tensor, V1Call, V1Reply, V2Call, V2Reply
from kserve_wrapper.core.errors import BadGateway, InvalidRequest
from kserve_wrapper.tensors.bfloat16 import widen
from kserve_wrapper.tensors.binary import (
    HEADER_LENGTH,
    check_parameters,
    compose_body,
    compose_tensors,
    parse_body,
    parse_tensors,
)
from kserve_wrapper.tensors.datatypes import BF16, DATATYPES, FLOATS, bytes_elements, encode_elements, values_of

logger = logging.getLogger(__name__)

RAW = "application/octet-stream"
JSON = "application/json"


@dataclass(frozen=True)
class UpstreamRequest:
    """``header_length``: of the JSON in front of binary data, or None."""

    path: str
    content_type: str
    body: bytes
    header_length: Optional[int] = None


def encode_call(call: Call, metadata: ModelMetadata) -> UpstreamRequest:
    """Raises InvalidRequest for a name that cannot stand in a path, or content that has no wire form."""
    path = path_of(call)
    content_type = RAW if "raw_body" in metadata.extensions else JSON
    if isinstance(call, V1Call):
        return UpstreamRequest(path, content_type, _dump({**call.extra, "instances": call.instances}))
    if any(tensor.datatype == BF16 for tensor in call.inputs):
        call = _without_bf16(call, metadata)
    if "binary_tensor_data" in metadata.extensions:
        body, length = _encode_binary(call)
        return UpstreamRequest(path, content_type, body, length)
    return UpstreamRequest(path, content_type, _encode_stock(call))


def decode_reply(call: Call, headers: Mapping[str, str], body: bytes) -> Reply:
    """Reads an answer of status 200. ``headers`` has lower-case names.

    Raises:
        BadGateway: it is not an answer to such a call; the log has what is wrong with it.
    """
    try:
        if isinstance(call, V1Call):
            return _decode_v1(call, body)
        return _decode_v2(headers, body)
    except InvalidRequest as error:
        logger.error("model %s answered something that is no reply: %s", call.model, error.message)
        raise BadGateway(
            f"model {call.model} answered {_kind(body)}, which is no reply ({error.message}): {_wanted(call)}"
        ) from None


def path_of(call: Call) -> str:
    """TorchServe's path for a call. Its KServe paths have no version and end a model's name at a colon."""
    model = _segment(call.model, "model name")
    if call.version is not None:
        verb = "explanations" if call.explain else "predictions"
        return f"/{verb}/{model}/{_segment(call.version, 'model version')}"
    if ":" in call.model:
        return f"/{'explanations' if call.explain else 'predictions'}/{model}"
    if isinstance(call, V1Call):
        return f"/v1/models/{model}:{'explain' if call.explain else 'predict'}"
    return f"/v2/models/{model}/{'explain' if call.explain else 'infer'}"


def _segment(name: str, what: str) -> str:
    # TorchServe splits the path after it has decoded it: an encoded slash would still be one.
    if not name or name in (".", "..") or "/" in name or not name.isprintable():
        raise InvalidRequest(f"{what} {name!r} must be printable, without slashes")
    try:
        return quote(name, safe="")
    except UnicodeEncodeError:
        raise InvalidRequest(f"{what} {name!r} is not valid Unicode") from None


def _dump(content: Any) -> bytes:
    try:
        return orjson.dumps(content)
    except TypeError as error:
        raise InvalidRequest(f"the request has no JSON form: {error}") from None


def _without_bf16(call: V2Call, metadata: ModelMetadata) -> V2Call:
    """NumPy has no BF16, nor have handlers, unless they name it: they get the same numbers as FP32."""
    if any(known.datatype == BF16 for known in metadata.inputs):
        return call
    inputs = [
        replace(tensor, datatype="FP32", data=widen(tensor.data).tobytes()) if tensor.datatype == BF16 else tensor
        for tensor in call.inputs
    ]
    return replace(call, inputs=inputs)


def _encode_binary(call: V2Call) -> Any:
    entries, chunks = compose_tensors(call.inputs, True)
    header: Dict[str, Any] = {"inputs": entries, "parameters": {**call.parameters, "binary_data_output": True}}
    if call.outputs is not None:
        header["outputs"] = [{"name": name} for name in call.outputs]
    return compose_body(header, chunks)


def _encode_stock(call: V2Call) -> bytes:
    content: Dict[str, Any] = {"inputs": [_stock_entry(tensor) for tensor in call.inputs]}
    if call.parameters:
        content["parameters"] = dict(call.parameters)
    if call.outputs is not None:
        content["outputs"] = [{"name": name} for name in call.outputs]
    if all(_is_finite(tensor) for tensor in call.inputs):
        return orjson.dumps(content)
    # Stock workers read NaN and infinity as Python's own JSON writes them.
    return json.dumps(content).encode()


def _stock_entry(tensor: Tensor) -> Dict[str, Any]:
    entry: Dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    if tensor.datatype == "BYTES":
        entry["data"] = _texts(bytes_elements(tensor.data))
    else:
        entry["data"] = values_of(tensor.datatype, tensor.data).tolist()
    if tensor.parameters:
        entry["parameters"] = dict(tensor.parameters)
    return entry


def _texts(elements: List[bytes]) -> List[str]:
    """Stock handlers get bytes as text, and take text that is not plain for base64."""
    try:
        return [element.decode() for element in elements]
    except UnicodeDecodeError:
        return [base64.b64encode(element).decode() for element in elements]


def _is_finite(tensor: Tensor) -> bool:
    if tensor.datatype not in FLOATS:
        return True
    return bool(np.isfinite(values_of(tensor.datatype, tensor.data)).all())


def _decode_v1(call: V1Call, body: bytes) -> V1Reply:
    content = _load(body)
    key = "explanations" if call.explain else "predictions"
    if key not in content:
        raise InvalidRequest(f"{key} is missing")
    beside = content.get("parameters")
    known = {name: value for name, value in beside.items() if _is_plain(value)} if isinstance(beside, dict) else {}
    return V1Reply(content[key], known, size=len(body))


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool))


def _decode_v2(headers: Mapping[str, str], body: bytes) -> V2Reply:
    length = headers.get(HEADER_LENGTH.lower())
    if length is not None:
        content, binary = parse_body(body, length)
        outputs = parse_tensors(content.get("outputs"), binary, "outputs")
    else:
        content = _load(body)
        outputs = [_read_output(entry, i) for i, entry in enumerate(_list(content.get("outputs")))]
    version = content.get("model_version")
    return V2Reply(
        outputs,
        version if isinstance(version, str) else None,
        check_parameters(content.get("parameters"), "the reply"),
        size=len(body),
    )


def _load(body: bytes) -> Dict[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = _load_lenient(body)
    if not isinstance(content, dict):
        raise InvalidRequest("the body is not a JSON object")
    return content


def _load_lenient(body: bytes) -> Any:
    """Python workers write NaN and Infinity, which JSON does not have."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None


def _kind(body: bytes) -> str:
    """What a handler answered, in words."""
    try:
        content = _load_lenient(body)
    except InvalidRequest:
        return "something that is not JSON" if body else "nothing"
    if isinstance(content, dict):
        return "an object with " + (", ".join(sorted(content)[:3])[:80] or "nothing in it")
    return _KINDS.get(type(content), "null")


_KINDS = {list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}


def _wanted(call: Call) -> str:
    """What a handler has to answer."""
    form = '{"outputs": [{"name": …, "datatype": …, "shape": …, "data": …}]}'
    if isinstance(call, V1Call):
        form = '{"explanations": […]}' if call.explain else '{"predictions": […]}'
    return f"its handler must return {form} for each request, or TorchServe's envelope for it (service_envelope) be set"


def _list(value: Any) -> List[Any]:
    if not isinstance(value, list):
        raise InvalidRequest("outputs is not a list")
    return value


def _read_output(entry: Any, index: int) -> Tensor:
    where = f"outputs[{index}]"
    if not isinstance(entry, dict) or not isinstance(entry.get("shape"), list):
        raise InvalidRequest(f"{where} is no tensor")
    datatype, data = entry.get("datatype"), entry.get("data")
    if datatype == "BYTES" and isinstance(data, list):
        # Stock envelopes call everything BYTES that NumPy has no number for, objects included.
        data = [element if isinstance(element, str) else _dump(element).decode() for element in data]
    if datatype not in DATATYPES:
        raise InvalidRequest(f"{where} has datatype {datatype!r}")
    shape, encoded = encode_elements(data, datatype, entry["shape"], where)
    parameters = check_parameters(entry.get("parameters"), where)
    return Tensor(str(entry.get("name", f"output-{index}")), datatype, shape, encoded, parameters)
