"""KServe V1: JSON in, JSON out, one instance a row.

JSON has no NaN and no infinity: a body with such a token is refused (400), and a result that holds one is written
as ``null``. Whoever needs them uses V2.
"""

from __future__ import annotations

from typing import Any, Dict

import orjson

from kserve_wrapper.core.calls import Buffer, V1Call, V1Reply
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.core.headers import ClientHeaders


def decode_request(body: Buffer, model: str, explain: bool, headers: ClientHeaders) -> V1Call:
    """Reads a V1 request.

    Args:
        body: a JSON object with a list under ``instances`` or, as TensorFlow's users write it, ``inputs``: one
            item a row. All other keys travel along as they are.
        model: name out of the path.
        explain: the verb.
        headers: the client's request headers.

    Raises:
        InvalidRequest: no JSON, no object, neither or both of the two keys, not a list, or an empty one.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InvalidRequest('the body must be a JSON object: {"instances": [...]}')
    instances = _take_instances(content)
    return V1Call(model, None, explain, instances, content, headers, len(body))


def encode_reply(reply: V1Reply, explain: bool) -> bytes:
    """``{"predictions": [...]}`` or ``{"explanations": [...]}``, one entry a row, in order.

    ``parameters`` stand beside them where the handler said anything.
    """
    content: Dict[str, Any] = {"explanations" if explain else "predictions": reply.results}
    if reply.parameters:
        content["parameters"] = reply.parameters
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _take_instances(content: Dict[str, Any]) -> Any:
    """Removes the rows from ``content`` and returns them."""
    if ("instances" in content) == ("inputs" in content):
        raise InvalidRequest('the body must have exactly one of "instances" and "inputs"')
    key = "instances" if "instances" in content else "inputs"
    instances = content.pop(key)
    if not isinstance(instances, list):
        raise InvalidRequest(f'"{key}" must be a list with one item a row')
    if not instances:
        raise InvalidRequest(f'"{key}" is empty: send one item or more')
    return instances
