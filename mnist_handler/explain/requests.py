"""The explain requests of a batch: rows that share a method and its parameters go through Captum together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Union

import torch

from mnist_handler.explain.answers import explain_answer
from mnist_handler.explain.attributions import COMPLETE, check_windows
from mnist_handler.explain.explanations import Explanations
from mnist_handler.inputs.parameters import ExplainOptions
from mnist_handler.inputs.spec import Rows
from mnist_handler.predictions import Predictions, Scores
from mnist_handler.requests import Request, RequestError, row_error

Results = Dict[int, Any]


@dataclass
class ExplainJob:
    """A request to explain: place in TorchServe's batch, rows, options; ``start`` is its first row in the batch."""

    index: int
    request: Request
    rows: Rows
    size: int
    options: ExplainOptions
    #: Class of each row; None stands for the predicted one.
    targets: List[Optional[int]]
    start: int = 0

    @property
    def targets_known(self) -> bool:
        return None not in self.targets


def explain_jobs(
    explanations: Explanations,
    jobs: Sequence[ExplainJob],
    tensors: Sequence[torch.Tensor],
    predictions: Union[Predictions, Scores, None],
    results: Results,
) -> None:
    """Attribute all jobs, group by group, and put each one's answer or error into ``results``."""
    groups: Dict[Any, List[ExplainJob]] = {}
    for job in jobs:
        groups.setdefault(job.options.call, []).append(job)
    for (method, settings), group in groups.items():
        try:
            if method == "occlusion":
                check_windows([tensors[one.place].shape[1:] for one in explanations.inputs], dict(settings))
        except RequestError as error:
            results.update({job.index: error for job in group})
            continue
        _explain_group(explanations, method, dict(settings), group, tensors, predictions, results)


def _explain_group(
    explanations: Explanations,
    method: str,
    settings: Dict[str, float],
    group: List[ExplainJob],
    tensors: Sequence[torch.Tensor],
    predictions: Union[Predictions, Scores, None],
    results: Results,
) -> None:
    arguments = [torch.cat([tensor[job.start : job.start + job.size] for job in group]) for tensor in tensors]
    chosen = [_chosen(job, predictions) for job in group]
    targets = torch.tensor([target for part in chosen for target in part], device=arguments[0].device)
    attributions, failed = explanations.explainer.attribute(method, arguments, targets, settings)
    delta: Optional[torch.Tensor] = None
    if attributions is not None and method in COMPLETE and any(job.options.delta for job in group):
        delta = explanations.explainer.delta(arguments, targets, settings.get("baselines", 0.0), attributions)
    # To the host once, not once a request.
    attributions = None if attributions is None else tuple(one.cpu() for one in attributions)
    delta = None if delta is None else delta.cpu()
    start = 0
    for job, classes in zip(group, chosen):
        rows = slice(start, start + job.size)
        faults = {row - start: failed[row] for row in failed if rows.start <= row < rows.stop}
        start = rows.stop
        if faults or attributions is None:
            results[job.index] = row_error(faults, 507)
            continue
        own_delta = None if delta is None else delta[rows].numpy()
        given = [one[rows] for one in arguments]
        try:
            results[job.index] = explain_answer(
                explanations, job, classes, [one[rows].numpy() for one in attributions], own_delta, given
            )
        except RequestError as error:
            results[job.index] = error


def _chosen(job: ExplainJob, predictions: Union[Predictions, Scores, None]) -> List[int]:
    if job.targets_known or not isinstance(predictions, Predictions):
        return [target for target in job.targets if target is not None]
    predicted = predictions.classes[job.start : job.start + job.size].tolist()
    return [own if target is None else target for target, own in zip(job.targets, predicted)]
