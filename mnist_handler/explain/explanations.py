"""What of a model can be explained, and how: found out once, when it is loaded."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Sequence

import torch
from torch import nn

from mnist_handler.compute.engine import is_out_of_memory
from mnist_handler.config import ConfigError
from mnist_handler.explain.attributions import CPU_ROWS, Explainer, method_settings
from mnist_handler.explain.view import ExplainedInput, ExplainedModel, explained_inputs, find_layer
from mnist_handler.inputs.parameters import EXPLAIN_KEYS, ParameterSpec
from mnist_handler.inputs.spec import InputSpec

logger = logging.getLogger(__name__)

#: Ids are explained by their vectors: these methods know what to do with one.
_OF_VECTORS = ("integrated_gradients", "saliency", "input_x_gradient", "smooth_grad")
#: Their noise depends on a row's length, and with it on what fills the row up.
_RANDOM = ("gradient_shap", "smooth_grad")
#: These hook modules, which TorchScript does not allow.
_HOOKS = ("deep_lift", "grad_cam")


@dataclass(frozen=True)
class Explanations:
    """A model's explainer, what it explains, and what a handler says of rows."""

    explainer: Explainer
    inputs: List[ExplainedInput]
    methods: Dict[str, Dict[str, ParameterSpec]]
    #: Names of the classes, or None.
    labels: Optional[Sequence[str]] = None
    #: Words for the ids of a row, or None.
    tokens: Callable[[InputSpec, Any], Optional[Sequence[str]]] = field(default=lambda spec, ids: None)
    #: What rows look like, uint8 [rows, height, width, 3], or None.
    pictures: Callable[[InputSpec, Any], Optional[Any]] = field(default=lambda spec, rows: None)

    @property
    def keys(self) -> FrozenSet[str]:
        """Every parameter that a request to explain may have."""
        return EXPLAIN_KEYS.union(*self.methods.values())

    @property
    def row_shapes(self) -> List[Sequence[int]]:
        """Of the inputs whose attributions may be asked for in smaller forms: rows of one shape."""
        return [one.spec.tensor.shape for one in self.inputs if one.spec.tensor.pad is None]


class Unexplainable(Exception):
    """The model has no explanations; the message says why."""


def build_explanations(
    model: nn.Module,
    eager: nn.Module,
    specs: Sequence[InputSpec],
    example: Callable[[], Sequence[torch.Tensor]],
    rows_at_once: Optional[int],
    side_by_side: bool,
    layer_name: Optional[str],
) -> Explanations:
    """Make an explainer and try it on one row.

    Args:
        model: what gradients go through, scores [rows, classes].
        eager: the module in it whose layers have the names that the handler and its settings know.
        example: arguments of one row.
        rows_at_once: None = as many as are good.
        layer_name: the setting ``explain_layer``.

    Raises:
        Unexplainable: no input has a gradient.
        ConfigError: no such layer, or grad_cam cannot use it.
    """
    inputs = explained_inputs(specs, eager)
    if not inputs:
        raise Unexplainable(
            "none of its inputs are floats, and none names the embedding of its integers (InputSpec(…, embedding=…))"
        )
    layer = None if layer_name is None else find_layer(eager, layer_name, "handler.explain_layer")
    methods = _methods(inputs, isinstance(eager, torch.jit.ScriptModule), layer is not None)
    view = ExplainedModel(model, inputs)
    explainer = Explainer(view, rows_at_once or CPU_ROWS, side_by_side, layer)
    try:
        explainer.warm_up(example(), fit=rows_at_once is None)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise Unexplainable(f"no gradient reaches its inputs ({_first_line(error)})") from error
    if layer is not None:
        _try_layer(explainer, methods, example(), str(layer_name))
    return Explanations(explainer, inputs, methods)


def _methods(inputs: Sequence[ExplainedInput], script: bool, layer: bool) -> Dict[str, Dict[str, ParameterSpec]]:
    methods = method_settings(inputs[0].spec.tensor.shape)
    unfit = {name for name in _HOOKS if script}
    if any(one.spec.tensor.pad is not None for one in inputs):
        unfit.update(_RANDOM)
    if any(one.layer is not None for one in inputs):
        unfit |= methods.keys() - set(_OF_VECTORS)
    if not layer:
        unfit.add("grad_cam")
    methods = {name: takes for name, takes in methods.items() if name not in unfit}
    if all(one.layer is not None for one in inputs):  # a number would mean nothing to a vector
        methods = {
            name: {key: one for key, one in takes.items() if key != "baselines"} for name, takes in methods.items()
        }
    return methods


def _try_layer(explainer: Explainer, methods: Any, example: Sequence[torch.Tensor], name: str) -> None:
    cause = "grad_cam needs one input of rows [channels, height, width], and no TorchScript"
    if "grad_cam" in methods and len(example) == 1 and example[0].dim() == 4:
        target = torch.zeros(len(example[0]), dtype=torch.int64, device=example[0].device)
        try:
            explainer.attribute("grad_cam", example, target, {})
            return
        except Exception as error:
            if is_out_of_memory(error):
                raise
            cause = _first_line(error)
    raise ConfigError(f"handler.explain_layer: grad_cam cannot use {name}: {cause}; name a convolution or leave it out")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
