"""What a model takes and gives, as V2 model metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from mnist_handler.inputs.parameters import DeclaredParameter
from mnist_handler.inputs.spec import InputSpec
from mnist_handler.outputs import OutputSpec

#: What the envelopes of this package understand beyond stock ones.
EXTENSIONS = ("binary_tensor_data", "raw_body", "row_errors")
#: A row's answer does not depend on the rows beside it, so requests of several clients may share a batch.
INDEPENDENT_ROWS = "independent_rows"
#: Rows of unequal shape may share a batch: an input pads them.
RAGGED_ROWS = "ragged_rows"
#: The same of a model of several inputs: all that vary are padded, and each may come several times.
RAGGED_INPUTS = "ragged_inputs"
#: Rows of an output have lengths of their own, which the output ``NAME_length`` tells.
OUTPUT_LENGTHS = "output_lengths"


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model once it is loaded."""

    name: str
    version: str
    platform: str
    inputs: Tuple[InputSpec, ...]
    #: Number of classes, or None where the output is not scores of classes.
    classes: Optional[int]
    #: Names of the classes, where they have any.
    labels: Optional[Tuple[str, ...]]
    #: Shape of a row's scores, without the batch dimension.
    score_shape: Tuple[int, ...]
    #: Row shapes of what ``explain``, ``explain_1`` … hold, or empty where the model has no explanations.
    explained: Tuple[Tuple[int, ...], ...]
    independent_rows: bool
    #: Names of the request headers that the handler reads, in lower case.
    request_headers: Tuple[str, ...] = ()
    #: What the model gives where that is not scores.
    outputs: Tuple[OutputSpec, ...] = ()
    parameters: Tuple[DeclaredParameter, ...] = ()
    #: Rows beyond which a batch brings no more rows a second, where the worker found any.
    preferred_batch_size: Optional[int] = None
    #: How rows can be explained, the default first.
    methods: Tuple[str, ...] = ()


def metadata(facts: ModelFacts) -> Dict[str, Any]:
    """V2 model metadata with ``extensions``; ``optional_outputs`` come on request."""
    described: Dict[str, Any] = {
        "name": facts.name,
        "versions": [facts.version],
        "platform": facts.platform,
        "inputs": [_tensor(spec.name, spec.datatype, spec.shape) for spec in facts.inputs],
        "outputs": _outputs(facts),
        "optional_outputs": _optional(facts),
        "extensions": [*EXTENSIONS, *_batching(facts)],
    }
    if facts.labels is not None:
        described["labels"] = list(facts.labels)
    if facts.request_headers:
        described["request_headers"] = list(facts.request_headers)
    if facts.preferred_batch_size is not None:
        described["preferred_batch_size"] = facts.preferred_batch_size
    if facts.parameters:
        described["parameters"] = [one.describe() for one in facts.parameters]
    if facts.methods:
        described["methods"] = list(facts.methods)
    return described


def _batching(facts: ModelFacts) -> List[str]:
    if not facts.independent_rows:
        return []
    padded = any(one.tensor.pad is not None for one in facts.inputs)
    varying = any(one.shape[:1] == (-1,) for one in facts.outputs) or (padded and facts.explained)
    ragged = [RAGGED_ROWS] if padded else []
    if (
        padded
        and len(facts.inputs) > 1
        and all(one.tensor.pad is not None or -1 not in one.shape for one in facts.inputs)
    ):
        ragged.append(RAGGED_INPUTS)
    return [INDEPENDENT_ROWS, *ragged, *([OUTPUT_LENGTHS] if varying else [])]


def _outputs(facts: ModelFacts) -> List[Dict[str, Any]]:
    if not facts.outputs:
        return [_predict(facts)]
    return [_tensor(spec.name, spec.datatype, spec.shape) for spec in facts.outputs]


def _predict(facts: ModelFacts) -> Dict[str, Any]:
    if facts.classes is None:
        return _tensor("predict", "FP32", facts.score_shape)
    return _tensor("predict", "BYTES" if facts.labels is not None else "INT64", ())


def _optional(facts: ModelFacts) -> List[Dict[str, Any]]:
    outputs = []
    if facts.classes is not None:
        outputs.append(_tensor("probabilities", "FP32", (facts.classes,)))
        outputs.append({**_predict(facts), "name": "top_k_classes", "shape": [-1, -1]})
        outputs.append(_tensor("top_k_probabilities", "FP32", (-1,)))
    if facts.explained:
        for number, shape in enumerate(facts.explained):
            outputs.append(_tensor(f"explain_{number}" if number else "explain", "FP32", shape))
        outputs.append(_tensor("convergence_delta", "FP32", ()))
        outputs.append(_tensor("target", "INT64" if facts.labels is None else "BYTES", ()))
    return outputs


def _tensor(name: str, datatype: str, row_shape: Any) -> Dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1, *row_shape]}
