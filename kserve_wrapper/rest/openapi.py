"""The OpenAPI 3.0 description of the HTTP front, and a page that shows it."""

from __future__ import annotations

import html
from typing import Any, Dict, List, Optional, Sequence

from kserve_wrapper._version import __version__
from kserve_wrapper.core.calls import ModelMetadata
from kserve_wrapper.rest.openapi_models import model_paths
from kserve_wrapper.tensors.datatypes import DATATYPES

_Schema = Dict[str, Any]

_NAME = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"
_PARAMETERS: _Schema = {
    "type": "object",
    "additionalProperties": {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]},
}
#: What every route may answer.
_COMMON_ERRORS = {"400": "The request itself is at fault.", "500": "A fault of the server's."}
_INFER_ERRORS = {
    "404": "No such model or version.",
    "408": "The request did not arrive in time.",
    "413": "The request is beyond a limit.",
    "415": "The Content-Encoding is not one that is read here.",
    "502": "TorchServe answered something that is not an answer.",
    "503": "Not ready, or too many requests wait: try again.",
    "504": "No answer by the deadline.",
    "507": "The worker's memory does not hold this request.",
}


def document(models: Sequence[ModelMetadata] = ()) -> Dict[str, Any]:
    """The description as JSON objects.

    Args:
        models: those served now; the ones that declare parameters get paths of their own beside those of all models.
    """
    paths = {**_server_paths(), **_v1_paths(), **_v2_paths(), **_repository_paths()}
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "KServe in front of TorchServe",
            "version": __version__,
            "description": "KServe V1 and V2 (Open Inference Protocol). gRPC: inference.GRPCInferenceService.",
        },
        "paths": {**paths, **model_paths(models, paths)},
        "components": {"schemas": _schemas()},
    }


def page(models: Sequence[ModelMetadata] = ()) -> bytes:
    """The routes as one page of HTML without anything from elsewhere."""
    rows = "\n".join(
        f"<tr><td>{method.upper()}</td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(operation['summary'])}</td></tr>"
        for path, operations in document(models)["paths"].items()
        for method, operation in operations.items()
        if method != "parameters"
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>KServe in front of TorchServe</title>"
        "<style>body{font:16px sans-serif;margin:2em}td{padding:.2em 1em .2em 0}</style>"
        f'<h1>KServe in front of TorchServe</h1><p><a href="openapi.json">openapi.json</a></p>\n'
        f"<table>{rows}</table></html>"
    ).encode()


def _server_paths() -> Dict[str, Any]:
    text: _Schema = {"type": "string"}
    return {
        "/": {"get": _operation("The server is there.", _object({"status": text}))},
        "/metrics": {"get": _operation("Metrics for Prometheus.", text, media="text/plain")},
    }


def _v1_paths() -> Dict[str, Any]:
    paths: Dict[str, Any] = {
        "/v1/models": {"get": _operation("All models.", _object({"models": _list({"type": "string"})}))},
        "/v1/models/{model}": _with_parameters(["model"], get=_readiness("Is the model ready?", _ref("ModelReady"))),
    }
    for verb, key in (("predict", "predictions"), ("explain", "explanations")):
        answer = _object({key: _list({}), "parameters": _PARAMETERS}, [key])
        operation = _operation(f"V1 {verb}.", answer, _ref("V1Request"), errors=_INFER_ERRORS)
        paths[f"/v1/models/{{model}}:{verb}"] = _with_parameters(["model"], post=operation)
    return paths


def _v2_paths() -> Dict[str, Any]:
    flag: _Schema = {"type": "boolean"}
    paths: Dict[str, Any] = {
        "/v2": {"get": _operation("About the server.", _ref("ServerMetadata"))},
        "/v2/": {"get": _operation("About the server.", _ref("ServerMetadata"))},
        "/v2/health/live": {"get": _readiness("Is the server alive?", _object({"live": flag}), known=True)},
        "/v2/health/ready": {"get": _readiness("Are all models ready?", _ref("ServerReady"), known=True)},
        "/v2/models": {"get": _operation("All models.", _object({"models": _list({"type": "string"})}))},
        "/v2/models/stats": {"get": _operation("What all models have answered.", _ref("ModelStatistics"))},
    }
    for prefix, names in (
        ("/v2/models/{model}", ["model"]),
        ("/v2/models/{model}/versions/{version}", ["model", "version"]),
    ):
        errors = {code: _INFER_ERRORS[code] for code in ("404", "503")}
        about = _operation("About the model.", _ref("ModelMetadata"), errors=errors)
        paths[prefix] = _with_parameters(names, get=about)
        config = _operation("The model's configuration, in Triton's form.", _ref("ModelConfig"), errors=errors)
        paths[f"{prefix}/config"] = _with_parameters(names, get=config)
        statistics = _operation("What the model has answered.", _ref("ModelStatistics"), errors={"404": errors["404"]})
        paths[f"{prefix}/stats"] = _with_parameters(names, get=statistics)
        ready = _readiness("Is the model ready?", _ref("ModelReady"))
        paths[f"{prefix}/ready"] = _with_parameters(names, get=ready)
        for verb in ("infer", "explain"):
            operation = _operation(f"V2 {verb}.", _ref("V2Reply"), _ref("V2Request"), errors=_INFER_ERRORS)
            paths[f"{prefix}/{verb}"] = _with_parameters(names, post=operation)
    return paths


def _repository_paths() -> Dict[str, Any]:
    errors = {
        "403": "TorchServe has model control off.",
        **{code: _INFER_ERRORS[code] for code in ("404", "408", "413", "415", "502", "503", "504")},
    }
    only_ready = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    index = _operation("What the model store holds.", _list(_ref("ModelIndex")), only_ready, errors=errors)
    paths: Dict[str, Any] = {"/v2/repository/index": {"post": index}}
    for verb in ("load", "unload"):
        answer = _object({"name": {"type": "string"}, verb: {"type": "boolean"}})
        operation = _operation(f"{verb.capitalize()} a model.", answer, {"type": "object"}, errors=errors)
        paths[f"/v2/repository/models/{{model}}/{verb}"] = _with_parameters(["model"], post=operation)
    return paths


def _operation(
    summary: str,
    answer: _Schema,
    body: Optional[_Schema] = None,
    media: str = "application/json",
    errors: Optional[Dict[str, str]] = None,
) -> Dict[str, Any]:
    responses: Dict[str, Any] = {"200": {"description": "OK", "content": {media: {"schema": answer}}}}
    for code, text in sorted({**_COMMON_ERRORS, **(errors or {})}.items()):
        responses[code] = {"description": text, "content": {"application/json": {"schema": _ref("Error")}}}
    operation: Dict[str, Any] = {"summary": summary, "responses": responses}
    if body is not None:
        operation["requestBody"] = {"required": "$ref" in body, "content": {"application/json": {"schema": body}}}
    return operation


def _readiness(summary: str, answer: _Schema, known: bool = False) -> Dict[str, Any]:
    """A route that answers the same with 503 for "no"; ``known``: no model is named, so none can be unknown."""
    operation = _operation(summary, answer, errors={} if known else {"404": _INFER_ERRORS["404"]})
    operation["responses"]["503"] = {"description": "No.", "content": {"application/json": {"schema": answer}}}
    return operation


def _with_parameters(names: List[str], **operations: Any) -> Dict[str, Any]:
    schema = {"type": "string", "pattern": _NAME}
    parameters = [{"name": name, "in": "path", "required": True, "schema": schema} for name in names]
    return {"parameters": parameters, **operations}


def _schemas() -> Dict[str, _Schema]:
    text: _Schema = {"type": "string"}
    flag: _Schema = {"type": "boolean"}
    shape = _list({"type": "integer", "format": "int64"})
    tensor: Dict[str, _Schema] = {
        "name": text,
        "datatype": {"type": "string", "enum": list(DATATYPES)},
        "shape": shape,
    }
    with_data = {**tensor, "parameters": _PARAMETERS, "data": _list({})}
    bare: _Schema = {"type": "integer", "minimum": -1}
    sent: Dict[str, _Schema] = {**with_data, "shape": {"oneOf": [shape, bare]}, "contents": {"type": "object"}}
    # A single text stands for a list of one.
    sent["data"] = {"oneOf": [_list({}), text]}
    request = _object({"id": text, "parameters": _PARAMETERS, "inputs": _list(_ref("InputTensor"), 1)}, ["inputs"])
    request["properties"]["outputs"] = _list(_object({"name": text, "parameters": _PARAMETERS}, ["name"]))
    return {
        "Error": _object({"error": text}),
        "InputTensor": _object(sent, ["name", "datatype", "shape"]),
        "ModelConfig": _model_config(),
        "ModelStatistics": _model_statistics(),
        "ModelReady": _object({"name": text, "ready": flag, "reason": text}, ["name", "ready"]),
        "ModelIndex": _object({"name": text, "version": text, "state": text, "reason": text}),
        "ModelMetadata": _object(
            {
                "name": text,
                "versions": _list(text),
                "platform": text,
                "inputs": _list(_ref("TensorMetadata")),
                "outputs": _list(_ref("TensorMetadata")),
            }
        ),
        "ServerReady": _object({"ready": flag, "reason": text}, ["ready"]),
        "ServerMetadata": _object({"name": text, "version": text, "extensions": _list(text)}),
        "Tensor": _object(with_data, ["name", "datatype", "shape"]),
        "TensorMetadata": _object(tensor),
        "V1Request": {
            "type": "object",
            "properties": {"instances": _list({}, 1), "inputs": _list({}, 1)},
            "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
        },
        "V2Reply": _object(
            {
                "id": text,
                "model_name": text,
                "model_version": text,
                "parameters": _PARAMETERS,
                "outputs": _list(_ref("Tensor")),
            },
            ["model_name", "outputs"],
        ),
        "V2Request": request,
    }


def _model_config() -> _Schema:
    text: _Schema = {"type": "string"}
    tensor = _object({"name": text, "data_type": text, "dims": _list({"type": "integer", "minimum": -1}, 1)})
    fields = {"name": text, "platform": text, "backend": text, "max_batch_size": {"type": "integer", "minimum": 0}}
    return _object({**fields, "input": _list(tensor), "output": _list(tensor)})


def _model_statistics() -> _Schema:
    text: _Schema = {"type": "string"}
    number: _Schema = {"type": "integer", "minimum": 0}
    duration = _object({"count": number, "ns": number})
    compute = dict.fromkeys(("compute_input", "compute_infer", "compute_output"), duration)
    others = dict.fromkeys(("success", "fail", "queue", "cache_hit", "cache_miss"), duration)
    counts = dict.fromkeys(("last_inference", "inference_count", "execution_count"), number)
    batches = _list(_object({"batch_size": number, **compute}))
    times = {"inference_stats": _object({**others, **compute}), "batch_stats": batches}
    model = _object({"name": text, "version": text, **counts, **times})
    return _object({"model_stats": _list(model)})


def _object(properties: Dict[str, _Schema], required: Optional[List[str]] = None) -> _Schema:
    """All properties are required unless told otherwise."""
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required}


def _list(items: _Schema, least: int = 0) -> _Schema:
    schema: _Schema = {"type": "array", "items": items}
    if least:
        schema["minItems"] = least
    return schema


def _ref(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}
