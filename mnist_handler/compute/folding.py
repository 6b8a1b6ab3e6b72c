"""The model that gradients and CUDA graphs go through: eager, frozen, BatchNorm folded into the convolutions."""

from __future__ import annotations

import copy
import logging
from typing import Sequence

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mnist_handler.compute.device import full_float32

logger = logging.getLogger(__name__)


def eager_copy(model: nn.Module, example: Sequence[torch.Tensor], fold: bool = True) -> nn.Module:
    """A copy for Captum: weights without gradients, no activation in place (its hooks cannot bear them).

    Folding saves a fifth of a backward pass. Where the model cannot be traced for it, or gives other scores after it,
    the copy stays as it is.

    Args:
        example: the model's inputs, of any number of rows.
        fold: False keeps every layer under its name, for whoever looks at one.
    """
    own = copy.deepcopy(model).eval()
    if isinstance(own, torch.jit.ScriptModule):
        return own
    own.requires_grad_(False)
    for module in own.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    if not fold:
        return own
    try:
        folded = _fold(own)
        # In TF32 two equal models differ by more than a wrong folding may.
        with torch.no_grad(), full_float32():
            noise = [torch.rand_like(one) if one.is_floating_point() else one for one in example]
            torch.testing.assert_close(folded(*noise), own(*noise), rtol=1e-3, atol=1e-4)
    except Exception as error:
        logger.info("BatchNorm is not folded into the eager model: %s", str(error).splitlines()[:1])
        return own
    return folded


def _fold(model: nn.Module) -> nn.Module:
    """A traced copy in which each convolution has the BatchNorm that alone reads it in its weights."""
    traced = fx.symbolic_trace(model)
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        conv, norm = modules[str(before.target)], modules[str(node.target)]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            traced.add_submodule(str(before.target), fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.recompile()
    return traced.eval().requires_grad_(False)
