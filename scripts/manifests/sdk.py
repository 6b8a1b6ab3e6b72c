"""The check where the CRD schemas are absent: the models of KServe's and Kubernetes' Python packages.

Coarser than a schema: names of fields and their types, not ranges and patterns. The models are read in a process of
their own: importing kserve brings protocol messages that cannot live beside tritonclient's.
"""

from __future__ import annotations

import importlib.util
import re
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import Any, Optional

_SCALARS = {"str": str, "int": int, "bool": bool, "float": (int, float)}
_VERSIONS = {"serving.kserve.io/v1alpha1": "V1alpha1", "serving.kserve.io/v1beta1": "V1beta1", "v1": "V1"}


def missing() -> Optional[str]:
    """Why this check cannot be made, or None."""
    absent = [name for name in ("kserve", "kubernetes") if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def knows(value: dict[str, Any]) -> bool:
    """Whether the packages have a model of the object's version and kind."""
    return value["apiVersion"] in _VERSIONS


def problems(value: dict[str, Any]) -> list[str]:
    """What the packages' models have against an object."""
    return _child().submit(_check, value, _VERSIONS[value["apiVersion"]] + value["kind"], "$").result()


@cache
def _child() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def _check(value: Any, type_name: str, path: str) -> list[str]:
    inner = re.fullmatch(r"(list\[|dict\(str, )(.+)[\])]", type_name)
    if inner:
        items = enumerate(value) if isinstance(value, list) else value.items()
        return [problem for key, item in items for problem in _check(item, inner.group(2), f"{path}[{key}]")]
    if type_name in _SCALARS:
        right = isinstance(value, _SCALARS[type_name]) and (type_name == "bool" or not isinstance(value, bool))
        return [] if right else [f"{path}: {value!r} is no {type_name}"]
    model = _model(type_name)
    if model is None:
        return []
    if not isinstance(value, dict):
        return [f"{path}: {value!r} is no {type_name}"]
    names = {wire: name for name, wire in model.attribute_map.items()}
    unknown = [f"{path}.{key}: no field of {type_name}" for key in value if key not in names]
    known = {key: model.openapi_types[names[key]] for key in value if key in names}
    return [*unknown, *(p for key, kind in known.items() for p in _check(value[key], kind, f"{path}.{key}"))]


def _model(type_name: str) -> Any:
    """The class; None for what the packages leave open (object, datetime, quantities)."""
    import kserve.models
    import kubernetes.client

    return getattr(kserve.models, type_name, None) or getattr(kubernetes.client, type_name, None)
