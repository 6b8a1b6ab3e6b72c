"""A gRPC request's typed contents as protobuf writes them in JSON, for clients that send that over HTTP.

``{"contents": {"fp32_contents": [...]}}`` in place of ``data``: names in either spelling (``fp32Contents``), 64-bit
integers as numbers or text, bytes as base64 (protobuf's JSON mapping).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, List, Mapping, Sequence, Tuple, Union

from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.tensors.datatypes import encode_elements, join_bytes

#: The field of InferTensorContents for each datatype; FP16 and BF16 have none.
FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_INTEGER = re.compile(r"-?[0-9]{1,20}\Z")


def encode_contents(
    contents: Any, datatype: str, shape: Union[int, Sequence[int]], where: str
) -> Tuple[Tuple[int, ...], bytes]:
    """The tensor's shape, resolved, and bytes, as `datatypes.encode_elements` gives them.

    Raises:
        InvalidRequest: no object with just the datatype's field, bytes that are no base64, and as `encode_elements`.
    """
    field = FIELDS.get(datatype)
    if field is None:
        raise InvalidRequest(f"{where}: {datatype} has no typed contents; send binary data")
    if not isinstance(contents, dict):
        raise InvalidRequest(f"{where}: contents must be a JSON object: {{{field!r}: [...]}}")
    given = {name: value for name, value in contents.items() if value not in (None, [])}
    names = {field, _camel(field)}
    for name in given:
        if name not in names:
            raise InvalidRequest(f"{where}: {datatype} belongs into {field}, not {name}")
    elements: Any = next(iter(given.values()), [])
    if not isinstance(elements, list):
        raise InvalidRequest(f"{where}: {field} must be a list")
    if datatype == "BYTES":
        decoded = [_bytes_of(element, index, where) for index, element in enumerate(elements)]
        resolved, _ = encode_elements([""] * len(decoded), datatype, shape, where)
        return resolved, join_bytes(decoded)
    return encode_elements(_numbers(elements), datatype, shape, where)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join([part.capitalize() for part in rest])


def _numbers(elements: List[Any]) -> List[Any]:
    return [int(e) if type(e) is str and _INTEGER.match(e) else e for e in elements]


def _bytes_of(element: Any, index: int, where: str) -> bytes:
    try:
        return base64.b64decode(element, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise InvalidRequest(f"{where}: element {index} of bytes_contents is not base64") from None
