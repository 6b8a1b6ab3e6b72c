"""What the OpenAPI description says of single models: the parameters that their handlers declare."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence
from urllib.parse import quote

from kserve_wrapper.core.calls import ModelMetadata

_Schema = Dict[str, Any]
_TYPES = {"BOOL": "boolean", "INT64": "integer", "FP64": "number", "BYTES": "string"}


def declared_parameters(metadata: ModelMetadata) -> Dict[str, _Schema]:
    """A schema for each parameter in the handler's own description, by name; what is no parameter is passed over."""
    told = metadata.extra.get("parameters")
    entries: List[Any] = told if isinstance(told, list) else []
    known = [one for one in entries if isinstance(one, dict) and isinstance(one.get("name"), str)]
    return {one["name"]: _schema(one) for one in known if one.get("datatype") in _TYPES}


def model_paths(models: Sequence[ModelMetadata], paths: Mapping[str, Any]) -> Dict[str, Any]:
    """Paths of their own for models that declare parameters: those of all models, with these parameters in the body.

    Args:
        paths: of all models, under ``{model}``.
    """
    made: Dict[str, Any] = {}
    for metadata in models:
        own = declared_parameters(metadata)
        if not own:
            continue
        for path, body in (("/v1/models/{model}:predict", "V1Request"), ("/v2/models/{model}/infer", "V2Request")):
            operation = dict(paths[path]["post"])
            operation["summary"] = f"{operation['summary'].rstrip('.')} of {metadata.name}, with its own parameters."
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _body(body, own)}}}
            made[path.replace("{model}", quote(metadata.name, safe=""))] = {"post": operation}
    return made


def _body(name: str, own: Mapping[str, _Schema]) -> _Schema:
    parameters: _Schema = {"type": "object", "properties": dict(own)}
    return {
        "allOf": [
            {"$ref": f"#/components/schemas/{name}"},
            {"type": "object", "properties": {"parameters": parameters}},
        ]
    }


def _schema(told: Mapping[str, Any]) -> _Schema:
    kind = _TYPES[told["datatype"]]
    schema: _Schema = {"type": kind}
    for key in ("minimum", "maximum", "default", "description"):
        if key in told:
            schema[key] = _whole(told[key]) if kind == "integer" else told[key]
    choices = told.get("choices")
    if isinstance(choices, list) and choices:
        schema["enum"] = [_whole(one) for one in choices] if kind == "integer" else choices
    return schema


def _whole(value: Any) -> Any:
    """TorchServe's JSON library may turn 1 into 1.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
