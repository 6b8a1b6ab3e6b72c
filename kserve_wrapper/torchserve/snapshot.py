"""The property ``model_snapshot``: which models TorchServe restores when it starts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

Models = Dict[str, Dict[str, "SnapshotModel"]]


@dataclass(frozen=True)
class SnapshotModel:
    """One version of a model, as the snapshot has it; the management address knows what became of it.

    ``batch_size`` counts requests, ``max_batch_delay`` milliseconds, ``response_timeout`` seconds. The version
    is the snapshot's label: the archive's own is what TorchServe serves.
    """

    mar_name: str
    default_version: bool
    min_workers: int
    max_workers: int
    batch_size: int
    max_batch_delay: int
    response_timeout: int


def parse(text: str, default_response_timeout: int) -> Models:
    """Models by name and version.

    A snapshot whose ``modelCount`` is 0 or absent loads nothing in TorchServe: it has no models here either.

    Raises:
        ValueError: not JSON (with the position), or not the shape of a snapshot.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        near = text[max(0, error.pos - 10) : error.pos + 10]
        raise ValueError(f"is not JSON at position {error.pos} (near {near!r}): {error.msg}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    models = value.get("models") if isinstance(value, dict) else None
    if not isinstance(models, dict):
        raise ValueError('must be an object with "models": {NAME: {VERSION: {"marName": …}}}')
    if not _count(value.get("modelCount")):
        return {}
    return {name: _versions(name, versions, default_response_timeout) for name, versions in models.items()}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _versions(name: str, versions: Any, default_response_timeout: int) -> Dict[str, SnapshotModel]:
    if not isinstance(versions, dict) or not versions:
        raise ValueError(f'models.{name} must be an object {{VERSION: {{"marName": …}}}}')
    return {v: _model(f"models.{name}.{v}", item, default_response_timeout) for v, item in versions.items()}


def _model(where: str, fields: Any, default_response_timeout: int) -> SnapshotModel:
    if not isinstance(fields, dict) or not isinstance(fields.get("marName"), str):
        raise ValueError(f'{where} must be an object with "marName", the name of a file in the model store')
    minimum = _integer(where, fields, "minWorkers", 1)
    return SnapshotModel(
        mar_name=fields["marName"],
        default_version=fields.get("defaultVersion") is True,
        min_workers=minimum,
        max_workers=_integer(where, fields, "maxWorkers", minimum),
        batch_size=_integer(where, fields, "batchSize", 1),
        max_batch_delay=_integer(where, fields, "maxBatchDelay", 100),
        response_timeout=_integer(where, fields, "responseTimeout", default_response_timeout),
    )


def _integer(where: str, fields: Mapping[str, Any], key: str, default: int) -> int:
    value: Optional[Any] = fields.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{where}.{key} must be a whole number, 0 or more, not {value!r}")
    return value
