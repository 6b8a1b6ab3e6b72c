"""The explain requests of a batch: rows that share a method and its parameters go through Captum together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Union

import torch

from mnist_handler.explain.attributions import COMPLETE, Explainer, check_windows
from mnist_handler.inputs.parameters import ExplainOptions
from mnist_handler.inputs.spec import Rows
from mnist_handler.predictions import Predictions, Scores
from mnist_handler.requests import Answer, Output, Request, RequestError, row_error

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
    explainer: Explainer,
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
                check_windows([tensor.shape[1:] for tensor in tensors], dict(settings))
        except RequestError as error:
            results.update({job.index: error for job in group})
            continue
        _explain_group(explainer, method, dict(settings), group, tensors, predictions, results)


def _explain_group(
    explainer: Explainer,
    method: str,
    settings: Dict[str, float],
    group: List[ExplainJob],
    tensors: Sequence[torch.Tensor],
    predictions: Union[Predictions, Scores, None],
    results: Results,
) -> None:
    inputs = [torch.cat([tensor[job.start : job.start + job.size] for job in group]) for tensor in tensors]
    chosen = [_chosen(job, predictions) for job in group]
    targets = torch.tensor([target for part in chosen for target in part], device=inputs[0].device)
    attributions, failed = explainer.attribute(method, inputs, targets, settings)
    delta: Optional[torch.Tensor] = None
    if attributions is not None and method in COMPLETE and any(job.options.delta for job in group):
        delta = explainer.delta(inputs, targets, settings["baselines"], attributions)
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
        try:
            results[job.index] = _answer(job, classes, [one[rows] for one in attributions], delta, rows)
        except RequestError as error:
            results[job.index] = error


def _chosen(job: ExplainJob, predictions: Union[Predictions, Scores, None]) -> List[int]:
    if job.targets_known or not isinstance(predictions, Predictions):
        return [target for target in job.targets if target is not None]
    predicted = predictions.classes[job.start : job.start + job.size].tolist()
    return [own if target is None else target for target, own in zip(job.targets, predicted)]


def _answer(
    job: ExplainJob,
    classes: List[int],
    attributions: List[torch.Tensor],
    delta: Optional[torch.Tensor],
    rows: slice,
) -> Answer:
    """``explain``, and on request ``convergence_delta`` and ``target``.

    Where the predicted class stood in for a target, the answer's parameter ``targets`` names the classes in the order
    of the rows, separated by commas.
    """
    outputs: Dict[str, Output] = {"explain": attributions[0].numpy()}
    for number, more in enumerate(attributions[1:], start=1):
        outputs[f"explain_{number}"] = more.numpy()
    if job.options.delta:
        if delta is None:
            raise RequestError(400, f"method {job.options.method} has no convergence_delta; {', '.join(COMPLETE)} have")
        outputs["convergence_delta"] = delta[rows].numpy()
    names = job.request.outputs
    if job.options.targets or (names is not None and "target" in names):
        outputs["target"] = torch.tensor(classes).numpy()
    if names is not None:
        unknown = [name for name in names if name not in outputs]
        if unknown:
            raise RequestError(400, f"no output {unknown[0]!r}; this explanation has {', '.join(outputs)}, target")
        outputs = {name: outputs[name] for name in names}
    parameters = {} if job.targets_known else {"targets": ",".join(str(one) for one in classes)}
    return Answer(outputs, parameters)
