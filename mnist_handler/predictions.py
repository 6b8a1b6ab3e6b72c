"""From scores to what a client reads: labels, probabilities, the best k classes."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import nn

from mnist_handler.inputs.parameters import NO_CLASSES, PredictOptions
from mnist_handler.requests import Output, RequestError

#: What a classifier can answer. ``predict`` is the label; the others come on request.
OUTPUTS = ("predict", "probabilities", "top_k_classes", "top_k_probabilities")
_DEFAULT_K = 5


def two_classes(logits: torch.Tensor) -> torch.Tensor:
    """One logit a row, [rows, 1], as scores of two classes whose softmax is the logit's sigmoid: [rows, 2]."""
    return torch.cat([torch.zeros_like(logits), logits], dim=1)


class TwoClasses(nn.Module):
    """A model of one logit a row as Captum sees it: what speaks against class 1 speaks for class 0."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(*inputs)
        return torch.cat([-logits, logits], dim=1)


class Scores:
    """A batch's scores as they are, for a model that does not classify.

    Args:
        scores: [rows, …].
    """

    def __init__(self, scores: torch.Tensor) -> None:
        self._scores: np.ndarray[Any, Any] = scores.cpu().numpy()

    def outputs(self, rows: slice, options: PredictOptions, names: Optional[List[str]]) -> Dict[str, Output]:
        """The output ``predict``; RequestError (400) for a name or an option of a classifier."""
        if options != PredictOptions():
            raise RequestError(400, NO_CLASSES)
        for name in names or ():
            if name != "predict":
                raise RequestError(400, f"no output {name!r}; this model has predict")
        return {"predict": self._scores[rows]}


class Predictions:
    """A batch's scores, each form of them computed once and when first asked for.

    Args:
        scores: logits or log-probabilities, [rows, classes].
        labels: class names, or None for plain indices.
    """

    def __init__(self, scores: torch.Tensor, labels: Optional[Sequence[str]] = None) -> None:
        self._scores = scores
        self._labels = labels
        self._best: Dict[int, Tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = {}

    @cached_property
    def classes(self) -> np.ndarray[Any, Any]:
        """The best class of each row, int64 [rows]."""
        best: np.ndarray[Any, Any] = self._scores.argmax(dim=1).cpu().numpy()
        return best

    @cached_property
    def _softmax(self) -> torch.Tensor:
        return self._scores.float().softmax(dim=1)

    @cached_property
    def probabilities(self) -> np.ndarray[Any, Any]:
        """float32 [rows, classes]; each row sums to 1."""
        values: np.ndarray[Any, Any] = self._softmax.cpu().numpy()
        return values

    def best(self, k: int) -> Tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The k best classes (int64) and their probabilities (float32), best first, [rows, k] each."""
        if k not in self._best:
            values, classes = self._softmax.topk(k, dim=1)
            self._best[k] = (classes.cpu().numpy(), values.cpu().numpy())
        return self._best[k]

    def outputs(self, rows: slice, options: PredictOptions, names: Optional[List[str]]) -> Dict[str, Output]:
        """The outputs of some rows: those named, or the label and what the options ask for.

        Raises:
            RequestError: 400, an output that there is not.
        """
        if names is None and not options.probabilities and options.top_k is None:
            return {"predict": self.named(self.classes[rows])}
        if names is None:
            names = ["predict"]
            names += ["probabilities"] if options.probabilities else []
            names += [] if options.top_k is None else ["top_k_classes", "top_k_probabilities"]
        k = options.top_k or min(_DEFAULT_K, self._scores.shape[1])
        return {name: self._output(name, rows, k) for name in names}

    def _output(self, name: str, rows: slice, k: int) -> Output:
        if name == "predict":
            return self.named(self.classes[rows])
        if name == "probabilities":
            return self.probabilities[rows]
        if name == "top_k_classes":
            return self.named(self.best(k)[0][rows])
        if name == "top_k_probabilities":
            return self.best(k)[1][rows]
        raise RequestError(400, f"no output {name!r}; this model has {', '.join(OUTPUTS)}")

    def named(self, classes: np.ndarray[Any, Any]) -> Output:
        """Indices as they are, or the names that stand for them."""
        if self._labels is None:
            return classes
        labels = self._labels
        if classes.ndim == 1:
            return [labels[index] for index in classes.tolist()]
        return [[labels[index] for index in row] for row in classes.tolist()]
