"""A request's attributions as its answer: each row in its own length, in the form asked for, and of which class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

import numpy as np
import torch

from mnist_handler.explain.attributions import COMPLETE
from mnist_handler.explain.explanations import Explanations
from mnist_handler.explain.rendering import render
from mnist_handler.explain.view import ExplainedInput
from mnist_handler.inputs.collate import row_lengths
from mnist_handler.inputs.spec import Chunk
from mnist_handler.requests import Answer, Output, Ragged, RequestError

if TYPE_CHECKING:
    from mnist_handler.explain.requests import ExplainJob

    Array = np.ndarray[Any, Any]


def explain_answer(
    explanations: Explanations,
    job: ExplainJob,
    classes: List[int],
    attributions: Sequence[Array],
    delta: Optional[Array],
    arguments: Sequence[torch.Tensor],
) -> Answer:
    """``explain``, before it the tokens of text, and on request ``convergence_delta`` and ``target``.

    Where the predicted class stood in for a target, the answer's parameter ``targets`` names the classes in the order
    of the rows, separated by commas.

    Args:
        classes: what was explained, one a row.
        attributions: one an explained input, [rows, …].
        delta: [rows].
        arguments: the model's, of the request's rows.

    Raises:
        RequestError: 400, an output or a delta that there is not.
    """
    outputs = _attributions(explanations, job, attributions, arguments)
    if job.options.delta:
        if delta is None:
            raise RequestError(400, f"method {job.options.method} has no convergence_delta; {', '.join(COMPLETE)} have")
        outputs["convergence_delta"] = delta
    names = job.request.outputs
    if job.options.targets or "tokens" in outputs or (names is not None and "target" in names):
        labels = explanations.labels
        outputs["target"] = np.array(classes) if labels is None else [labels[one] for one in classes]
    if names is not None:
        unknown = [name for name in names if name not in outputs]
        if unknown:
            raise RequestError(400, f"no output {unknown[0]!r}; this explanation has {', '.join(outputs)}, target")
        outputs = {name: outputs[name] for name in names}
    parameters = {} if job.targets_known else {"targets": ",".join(str(one) for one in classes)}
    return Answer(outputs, parameters)


def _attributions(
    explanations: Explanations, job: ExplainJob, attributions: Sequence[Array], arguments: Sequence[torch.Tensor]
) -> Dict[str, Output]:
    outputs: Dict[str, Output] = {}
    for number, (one, values) in enumerate(zip(explanations.inputs, attributions)):
        suffix = f"_{number}" if number else ""
        chunks = job.rows[one.spec.name]
        words = _tokens(explanations, one, chunks)
        if words is not None:
            outputs[f"tokens{suffix}"] = words
        form = job.options.form
        if one.spec.tensor.pad is not None:
            outputs[f"explain{suffix}"] = _trim(values.astype(np.float16) if form.half else values, chunks)
            continue
        pictures = explanations.pictures(one.spec, arguments[one.place]) if form.png else None
        outputs[f"explain{suffix}"] = render(values, form, pictures)
    return outputs


def _trim(values: Array, chunks: Sequence[Chunk]) -> Ragged:
    """Without what fills rows up beside longer ones of other clients."""
    lengths = row_lengths(chunks)
    return Ragged(values[:, : int(lengths.max(initial=0))], lengths)


def _tokens(explanations: Explanations, one: ExplainedInput, chunks: Sequence[Chunk]) -> Optional[Output]:
    """The words for each row's ids, where the handler has some."""
    if one.layer is None:
        return None
    rows: List[List[str]] = []
    for ids in (row for chunk in chunks for row in chunk.array):
        words = explanations.tokens(one.spec, ids)
        if words is None:
            return None
        if len(words) != len(ids):
            raise ValueError(f"tokens gave {len(words)} words for {len(ids)} ids")
        rows.append(list(words))
    lengths = np.array([len(row) for row in rows], np.int64)
    values = np.full((len(rows), int(lengths.max(initial=0))), "", dtype=np.object_)
    for place, row in zip(values, rows):
        place[: len(row)] = row
    return Ragged(values, lengths)
