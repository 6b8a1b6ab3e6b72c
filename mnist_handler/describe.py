"""What a model takes and gives, as V2 model metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List

import torch

if TYPE_CHECKING:
    from mnist_handler.handler import RowHandler

#: What the envelopes and handlers of this package understand beyond stock ones.
EXTENSIONS = ("binary_tensor_data", "raw_body", "row_errors")


def metadata(handler: RowHandler, context: Any) -> Dict[str, Any]:
    """V2 model metadata and ``extensions``; ``optional_outputs`` come on request."""
    model = context.manifest.get("model", {})
    script = isinstance(handler.model, torch.jit.ScriptModule)
    return {
        "name": context.model_name or model.get("modelName"),
        "versions": [str(model.get("modelVersion", "1.0"))],
        "platform": "pytorch_torchscript" if script else "pytorch_eager",
        "inputs": [_tensor(spec.name, spec.datatype, spec.shape) for spec in handler.inputs],
        "outputs": [_predict(handler)],
        "optional_outputs": _optional(handler),
        "extensions": list(EXTENSIONS),
        **({} if handler.labels is None else {"labels": list(handler.labels)}),
    }


def _predict(handler: RowHandler) -> Dict[str, Any]:
    if not handler.classifies:
        return _tensor("predict", "FP32", handler.score_shape)
    return _tensor("predict", "INT64" if handler.labels is None else "BYTES", ())


def _optional(handler: RowHandler) -> List[Dict[str, Any]]:
    outputs = []
    if handler.classifies:
        outputs.append(_tensor("probabilities", "FP32", (handler.classes,)))
        outputs.append({**_predict(handler), "name": "top_k_classes", "shape": [-1, -1]})
        outputs.append(_tensor("top_k_probabilities", "FP32", (-1,)))
    if handler.explainable:
        outputs.append(_tensor("explain", "FP32", handler.inputs[0].shape))
        outputs.append(_tensor("convergence_delta", "FP32", ()))
        outputs.append(_tensor("target", "INT64", ()))
    return outputs


def _tensor(name: str, datatype: str, row_shape: Any) -> Dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1, *row_shape]}
