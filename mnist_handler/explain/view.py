"""A model as Captum sees it: what is explained comes first, and what is not travels beside it.

Numbers are explained as they are. Ids have no gradient: they are explained by the vectors that their embedding turns
them into, as Captum's LayerIntegratedGradients does it, and a vector's attributions are summed up.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from torch import nn

from mnist_handler.config import ConfigError
from mnist_handler.inputs.spec import InputSpec

Tensors = Tuple[torch.Tensor, ...]
FLOATS = ("FP16", "FP32", "FP64")


@dataclass(frozen=True)
class ExplainedInput:
    """An input that is explained: ``place`` is that among the model's arguments."""

    spec: InputSpec
    place: int
    #: The layer that turns ids into vectors; None for numbers.
    layer: Optional[nn.Module] = None


def explained_inputs(specs: Sequence[InputSpec], model: nn.Module) -> List[ExplainedInput]:
    """The inputs that can be explained, in the order of the model's arguments.

    Raises:
        ConfigError: the model has no layer of a name that a spec's ``embedding`` says.
    """
    found: List[ExplainedInput] = []
    place = 0
    for spec in specs:
        tensor = spec.tensor
        if tensor.datatype in FLOATS:
            found.append(ExplainedInput(spec, place))
        elif tensor.embedding is not None:
            layer = find_layer(model, tensor.embedding, f"input {spec.name}: embedding")
            found.append(ExplainedInput(spec, place, layer))
        place += 1 if tensor.companion is None else 2
    return found


def find_layer(model: nn.Module, name: str, what: str) -> nn.Module:
    """The module of that dotted name; ConfigError, with the names that there are, where there is none."""
    modules: Dict[str, nn.Module] = dict(model.named_modules())
    if name not in modules or not name:
        known = [one for one in modules if one]
        shown = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
        raise ConfigError(f"{what}: the model has no layer {name!r}; it has {shown or 'none'}")
    return modules[name]


class ExplainedModel(nn.Module):
    """``forward`` takes the explained inputs, numbers and vectors, and behind them the model's other arguments.

    Several threads may call it at once.

    Args:
        inputs: what is explained; None = every argument, as it is.
    """

    def __init__(self, model: nn.Module, inputs: Optional[Sequence[ExplainedInput]] = None) -> None:
        super().__init__()
        self.model = model
        self._inputs = None if inputs is None else list(inputs)
        self._plain = {one.place for one in inputs or () if one.layer is None}
        self._now = threading.local()
        for number, one in enumerate(inputs or ()):
            if one.layer is not None:
                one.layer.register_forward_hook(partial(self._instead, number))

    @property
    def embedded(self) -> bool:
        """Whether ids are among what is explained."""
        return any(one.layer is not None for one in self._inputs or ())

    def split(self, arguments: Sequence[torch.Tensor]) -> Tuple[Tensors, Tensors]:
        """The model's arguments as what is explained, and what goes along; [rows, …] each."""
        if self._inputs is None:
            return tuple(arguments), ()
        with torch.no_grad():
            explained = tuple(
                arguments[one.place] if one.layer is None else one.layer(arguments[one.place]) for one in self._inputs
            )
        return explained, tuple(one for place, one in enumerate(arguments) if place not in self._plain)

    def nothing(self, explained: Sequence[torch.Tensor], value: float) -> Tensors:
        """What stands for "nothing there", of the shapes of ``explained``.

        Numbers become ``value``; vectors that of the padding, or zeros where there is none.
        """
        made: List[torch.Tensor] = []
        for number, tensor in enumerate(explained):
            one = None if self._inputs is None else self._inputs[number]
            if one is None or one.layer is None:
                made.append(torch.full_like(tensor, value))
            elif one.spec.tensor.pad is None:
                made.append(torch.zeros_like(tensor))
            else:
                with torch.no_grad():
                    ids = torch.tensor([int(one.spec.tensor.pad)], device=tensor.device)
                    made.append(one.layer(ids).to(tensor).expand_as(tensor).clone())
        return tuple(made)

    def by_element(self, attributions: Sequence[torch.Tensor]) -> Tensors:
        """A number for each element of an input: those of a vector summed up."""
        if self._inputs is None:
            return tuple(attributions)
        return tuple(values if one.layer is None else values.sum(-1) for one, values in zip(self._inputs, attributions))

    def forward(self, *arguments: torch.Tensor) -> torch.Tensor:
        if self._inputs is None:
            scores: torch.Tensor = self.model(*arguments)
            return scores
        explained = arguments[: len(self._inputs)]
        numbers = {one.place: value for one, value in zip(self._inputs, explained) if one.layer is None}
        given = iter(arguments[len(self._inputs) :])
        count = len(arguments) - len(self._inputs) + len(numbers)
        whole = [numbers[place] if place in numbers else next(given) for place in range(count)]
        self._now.vectors = explained
        try:
            scores = self.model(*whole)
        finally:
            self._now.vectors = None
        return scores

    def _instead(self, number: int, module: nn.Module, arguments: Any, output: Any) -> Any:
        """A hook behind an embedding: within ``forward``, the vectors that are explained in the place of its own."""
        vectors = getattr(self._now, "vectors", None)
        return None if vectors is None else vectors[number]
