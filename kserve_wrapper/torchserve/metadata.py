"""A handler's own description, as V2 model metadata."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from kserve_wrapper.core.calls import ModelMetadata, TensorMetadata

_PLATFORM = "pytorch_eager"
_KNOWN = {"name", "versions", "platform", "inputs", "outputs", "extensions", "request_headers"}


def to_metadata(name: str, versions: List[str], description: Optional[Mapping[str, Any]]) -> ModelMetadata:
    """Metadata of a model under the name and versions that TorchServe has for it.

    A handler without a describe of its own may answer anything at all to the question: what is not model metadata
    is passed over, as a whole where nothing of it is.

    Args:
        description: the V2 model metadata object plus ``extensions``, or None.
    """
    if description is None or not _is_metadata(description):
        return ModelMetadata(name, versions, _PLATFORM)
    platform = description.get("platform")
    return ModelMetadata(
        name=name,
        versions=versions,
        platform=platform if isinstance(platform, str) and platform else _PLATFORM,
        inputs=_tensors(description.get("inputs")),
        outputs=_tensors(description.get("outputs")),
        extensions=_names(description.get("extensions")),
        request_headers=_names(description.get("request_headers")),
        preferred_batch_size=_size(description.get("preferred_batch_size")),
        extra={key: value for key, value in description.items() if key not in _KNOWN},
    )


def _is_metadata(description: Mapping[str, Any]) -> bool:
    if isinstance(description.get("extensions"), list):
        return True
    return any(_tensors(description.get(key)) for key in ("inputs", "outputs"))


def _names(value: Any) -> List[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _size(value: Any) -> Optional[int]:
    """A number of rows; TorchServe's JSON library may turn 8 into 8.0."""
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1 and value % 1 == 0
    return int(value) if whole else None


def _tensors(value: Any) -> List[TensorMetadata]:
    items = value if isinstance(value, list) else []
    return [tensor for tensor in map(_tensor, items) if tensor is not None]


def _tensor(item: Any) -> Optional[TensorMetadata]:
    fields: Dict[str, Any] = item if isinstance(item, dict) else {}
    name, datatype, shape = fields.get("name"), fields.get("datatype"), fields.get("shape")
    if not isinstance(name, str) or not isinstance(datatype, str) or not isinstance(shape, list):
        return None
    # TorchServe's JSON library may turn -1 into -1.0.
    if not all(isinstance(n, (int, float)) and not isinstance(n, bool) and n >= -1 and n % 1 == 0 for n in shape):
        return None
    return TensorMetadata(name, datatype, tuple(int(n) for n in shape))
