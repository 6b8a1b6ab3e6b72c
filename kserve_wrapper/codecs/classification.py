"""Triton's classification extension: an output's best classes as texts ``score:index`` or ``score:index:label``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, List, Mapping, Sequence

import numpy as np

from kserve_wrapper.core.calls import Parameters, Tensor
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.tensors.datatypes import join_bytes, values_of

_NAME = "classification"


def asked_classes(parameters: Parameters, where: str) -> int:
    """How many classes a requested output asks for; 0 where it asks for none. InvalidRequest for what is no number."""
    count = parameters.get(_NAME, 0)
    if type(count) is not int or count < 0:
        raise InvalidRequest(f"{where}: parameter {_NAME!r} must be a number of classes")
    return count


def classified(tensors: List[Tensor], counts: Mapping[str, int], labels: Sequence[str]) -> List[Tensor]:
    """The tensors, those named in ``counts`` with their best classes instead: BYTES [rows, count].

    Args:
        labels: of the classes, where the handler names them; left out where they are not as many as the classes.

    Raises:
        InvalidRequest: a tensor that has no score for each of several classes.
    """
    return [_classify(tensor, counts[tensor.name], labels) if tensor.name in counts else tensor for tensor in tensors]


def _classify(tensor: Tensor, count: int, labels: Sequence[str]) -> Tensor:
    if tensor.datatype in ("BYTES", "BOOL") or len(tensor.shape) < 2 or 0 in tensor.shape:
        raise InvalidRequest(
            f"output {tensor.name!r}, {tensor.datatype} of shape {list(tensor.shape)}, has no scores of classes: "
            f"ask for {_NAME} of one that has"
        )
    scores = values_of(tensor.datatype, tensor.data).reshape(tensor.shape[0], -1)
    best = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, :count]
    names = labels if len(labels) == scores.shape[1] else ()
    texts = [_text(scores[row, index], index, names) for row, indices in enumerate(best.tolist()) for index in indices]
    return replace(tensor, datatype="BYTES", shape=best.shape, data=join_bytes(texts))


def _text(score: Any, index: int, labels: Sequence[str]) -> bytes:
    value = f"{score:f}" if isinstance(score, np.floating) else str(score)
    return ":".join([value, str(index), *([labels[index]] if labels else [])]).encode()
