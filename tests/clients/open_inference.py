"""The Open Inference Protocol over HTTP as an OpenAPI document, written down from its specification.

It tells what the protocol promises to any client, not what this server offers beyond it. Where the specification says
"an error" and leaves the status open, any 4XX or 503 is one.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

DATATYPES = ["BOOL", *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))]
DATATYPES += ["FP16", "FP32", "FP64", "BYTES"]
TEXT: Schema = {"type": "string"}
SHAPE: Schema = {"type": "array", "items": {"type": "integer"}}
PARAMETERS: Schema = {
    "type": "object",
    "additionalProperties": {"oneOf": [TEXT, {"type": "number"}, {"type": "boolean"}]},
}


def document() -> Schema:
    """The whole description."""
    paths: Schema = {
        "/v2/": {"get": _operation(_object(name=TEXT, version=TEXT, extensions=_list(TEXT)))},
        "/v2/health/live": {"get": _operation(None)},
        "/v2/health/ready": {"get": _operation(None)},
    }
    for path, names in (
        ("/v2/models/{model}", ["model"]),
        ("/v2/models/{model}/versions/{version}", ["model", "version"]),
    ):
        given = [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in names]
        paths[path] = {"parameters": given, "get": _operation(_metadata())}
        paths[f"{path}/ready"] = {"parameters": given, "get": _operation(None)}
        paths[f"{path}/infer"] = {"parameters": given, "post": _operation(_reply(), _request())}
    return {"openapi": "3.0.3", "info": {"title": "Open Inference Protocol", "version": "2"}, "paths": paths}


def _metadata() -> Schema:
    tensor = _object(name=TEXT, datatype=TEXT, shape=SHAPE)
    metadata = _object(name=TEXT, versions=_list(TEXT), platform=TEXT, inputs=_list(tensor), outputs=_list(tensor))
    return {**metadata, "required": ["name", "platform", "inputs", "outputs"]}


def _tensor() -> Schema:
    datatype = {"type": "string", "enum": DATATYPES}
    return _object(name=TEXT, shape=SHAPE, datatype=datatype, data=_list({}))


def _request() -> Schema:
    tensor = _tensor()
    tensor["properties"]["parameters"] = PARAMETERS
    output = {**_object(name=TEXT, parameters=PARAMETERS), "required": ["name"]}
    request = _object(id=TEXT, parameters=PARAMETERS, inputs=_list(tensor), outputs=_list(output))
    return {**request, "required": ["inputs"]}


def _reply() -> Schema:
    reply = _object(model_name=TEXT, model_version=TEXT, id=TEXT, parameters=PARAMETERS, outputs=_list(_tensor()))
    return {**reply, "required": ["model_name", "outputs"]}


def _operation(answer: Schema | None, body: Schema | None = None) -> Schema:
    content = {} if answer is None else {"content": {"application/json": {"schema": answer}}}
    # Health routes tell "no" by their status alone, whatever the body.
    error = {} if answer is None else {"content": {"application/json": {"schema": _object(error=TEXT)}}}
    responses: Schema = {"200": {"description": "OK", **content}}
    for status in ("4XX", "503"):
        responses[status] = {"description": "An error.", **error}
    operation: Schema = {"responses": responses}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}
