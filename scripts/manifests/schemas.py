"""KServe's CRD schemas made strict: a field that a schema does not know is refused, as the API server's
``fieldValidation: Strict`` does."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import yaml
from jsonschema import Draft7Validator, ValidationError

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "InferenceService": "serving.kserve.io_inferenceservices.yaml",
    "ServingRuntime": "serving.kserve.io_servingruntimes.yaml",
    "ClusterServingRuntime": "serving.kserve.io_clusterservingruntimes.yaml",
}
_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
#: A CRD leaves metadata to Kubernetes; of it these are what a person writes.
_METADATA = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
        "namespace": {"type": "string"},
        "labels": _STRINGS,
        "annotations": _STRINGS,
    },
}


def directory() -> Optional[Path]:
    """Where the schemas lie: $KSERVE_CRDS, or shared/crds beside the repository; None where they are absent."""
    place = Path(os.environ.get("KSERVE_CRDS", ROOT.parent / "shared" / "crds"))
    return place if (place / FILES["InferenceService"]).is_file() else None


def problems(value: Dict[str, Any], place: Path) -> List[str]:
    """What the schema of an object's kind and version has against it, each with its path."""
    validator = _validator(place / FILES[value["kind"]], str(value["apiVersion"]).rpartition("/")[2])
    return [told for error in validator.iter_errors(value) for told in _told(error)]


def _told(error: ValidationError) -> Iterator[str]:
    """The error with the path of what is wrong; an unknown key's own, not its parent's."""
    if error.validator == "additionalProperties" and error.validator_value is False:
        for key in sorted(error.instance.keys() - error.schema.get("properties", {}).keys()):
            yield f"{error.json_path}.{key}: unknown key"
    else:
        yield f"{error.json_path}: {error.message}"


@functools.cache
def _validator(file: Path, version: str) -> Draft7Validator:
    # 2 MB of YAML: safe_load has no way to be given the safe loader in C.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(file.read_text(encoding="utf-8"))
    try:
        definition = loader.get_single_data()
    finally:
        loader.dispose()
    (schema,) = [
        item["schema"]["openAPIV3Schema"] for item in definition["spec"]["versions"] if item["name"] == version
    ]
    strict_schema = strict(schema)
    strict_schema["properties"]["metadata"] = _METADATA
    return Draft7Validator(strict_schema)


def strict(schema: Any) -> Any:
    """The schema with unknown properties refused, except where it says that they are kept."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) if key != "enum" else value for key, value in schema.items()}
    open_ended = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(schema.get("properties"), dict) and not open_ended:
        made["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        made["additionalProperties"] = False
    return made
