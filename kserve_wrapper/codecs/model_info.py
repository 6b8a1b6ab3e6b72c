"""A model's configuration and statistics as Triton's clients read them, as JSON objects.

Over gRPC they are the same objects: their keys are the fields of ModelConfig and ModelStatistics.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import orjson

from kserve_wrapper.core.calls import ModelMetadata, TensorMetadata
from kserve_wrapper.core.dataplane import DataPlane
from kserve_wrapper.telemetry.statistics import Figures, Statistics
from kserve_wrapper.tensors.datatypes import DATATYPES

_NANOSECONDS = 1e9


class ModelInfo:
    """Answers them as JSON objects.

    Args:
        plane: knows the models.
        statistics: counted as models answer.
        batch_rows: most rows that go through a model at once.
    """

    def __init__(self, plane: DataPlane, statistics: Statistics, batch_rows: int) -> None:
        self._plane = plane
        self._statistics = statistics
        self._batch_rows = batch_rows

    def config(self, name: str, version: Optional[str] = None) -> Dict[str, Any]:
        """Raises NotFound for what is not served, Unavailable before a worker could be asked."""
        return model_config(self._plane.metadata(name, version), self._batch_rows)

    def statistics(self, name: Optional[str] = None, version: Optional[str] = None) -> Dict[str, Any]:
        """Of a model's versions, or of one; of all models' where none is named. Raises NotFound."""
        names = [name] if name else self._plane.models.models()
        return {"model_stats": [entry for one in names for entry in self._of_model(one, version)]}

    def _of_model(self, name: str, version: Optional[str]) -> List[Dict[str, Any]]:
        # Asked first, for NotFound.
        self._plane.model_ready(name, version)
        versions = [version] if version else self._plane.models.metadata(name).versions
        default = self._plane.models.default_version(name)
        return [
            model_statistics(name, one, self._statistics.of(name, one, one == default or len(versions) == 1))
            for one in versions
        ]


def model_config(metadata: ModelMetadata, batch_rows: int) -> Dict[str, Any]:
    """The configuration of a model, as far as there is one.

    Args:
        batch_rows: most rows that go through a model at once, for those whose inputs have a dimension 0 of any size.
    """
    batched = bool(metadata.inputs) and all(tensor.shape[:1] == (-1,) for tensor in metadata.inputs)
    batched = batched and all(tensor.shape[:1] == (-1,) for tensor in metadata.outputs)
    config: Dict[str, Any] = {
        "name": metadata.name,
        "platform": metadata.platform,
        "backend": "pytorch",
        "max_batch_size": batch_rows if batched else 0,
        "input": [_tensor(tensor, batched) for tensor in metadata.inputs],
        "output": [_tensor(tensor, batched) for tensor in metadata.outputs],
        "model_transaction_policy": {"decoupled": False},
    }
    if batched:
        config["dynamic_batching"] = {}
    return config


def _tensor(tensor: TensorMetadata, batched: bool) -> Dict[str, Any]:
    dims = list(tensor.shape[1:] if batched else tensor.shape)
    # A handler may name any datatype; Triton's have no others.
    kind = {"BYTES": "STRING"}.get(tensor.datatype, tensor.datatype if tensor.datatype in DATATYPES else "INVALID")
    entry: Dict[str, Any] = {"name": tensor.name, "data_type": f"TYPE_{kind}", "dims": dims or [1]}
    if not dims:
        # Dims may not be empty: one element a row is told so.
        entry["reshape"] = {"shape": []}
    return entry


def model_statistics(name: str, version: str, figures: Figures) -> Dict[str, Any]:
    """What a model version has answered. Counts of ``success`` to ``compute_infer`` are requests, times nanoseconds.

    compute_infer is an upstream request's whole time, TorchServe's part and the composing and reading included: nothing
    is left for compute_input and compute_output, whose counts have to be the same (perf_analyzer wants it so).
    """
    seconds = figures.waited + figures.upstream_seconds
    return {
        "name": name,
        "version": version,
        "last_inference": int(figures.last * 1000),
        "inference_count": figures.rows,
        "execution_count": figures.executions,
        "inference_stats": {
            "success": _duration(figures.requests, seconds),
            "fail": _duration(figures.failed, figures.failed_seconds),
            "queue": _duration(figures.requests, figures.waited),
            "compute_input": _duration(figures.requests, 0),
            "compute_infer": _duration(figures.requests, figures.upstream_seconds),
            "compute_output": _duration(figures.requests, 0),
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "batch_stats": _batches(figures),
    }


def properties(metadata: ModelMetadata) -> Dict[str, str]:
    """What a handler told of itself beyond the protocol's fields, as ModelMetadataResponse.properties."""
    told = {key: v if isinstance(v, str) else orjson.dumps(v).decode() for key, v in metadata.extra.items()}
    if metadata.extensions:
        told["extensions"] = ",".join(metadata.extensions)
    return told


def _batches(figures: Figures) -> List[Dict[str, Any]]:
    return [
        {
            "batch_size": rows,
            "compute_input": _duration(count, 0),
            "compute_infer": _duration(count, seconds),
            "compute_output": _duration(count, 0),
        }
        for rows, (count, seconds) in sorted(figures.batches.items())
    ]


def _duration(count: int, seconds: float) -> Dict[str, int]:
    return {"count": count, "ns": int(seconds * _NANOSECONDS)}
