"""The model that gradients go through: eager, frozen, with BatchNorm folded into the convolutions."""

from __future__ import annotations

import copy
import logging
from typing import Sequence

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

logger = logging.getLogger(__name__)


def eager_copy(model: nn.Module, example: Sequence[torch.Tensor]) -> nn.Module:
    """A copy for Captum: weights without gradients, no activation in place (its hooks cannot bear them).

    Folding saves a fifth of a backward pass. Where the model cannot be traced for it, or gives other scores after it,
    the copy stays as it is.

    Args:
        example: the model's inputs, of any number of rows.
    """
    own = copy.deepcopy(model).eval().requires_grad_(False)
    for module in own.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    if isinstance(own, torch.jit.ScriptModule):
        return own
    try:
        folded: nn.Module = fuse(own).eval().requires_grad_(False)
        with torch.no_grad():
            noise = [torch.rand_like(one) if one.is_floating_point() else one for one in example]
            torch.testing.assert_close(folded(*noise), own(*noise), rtol=1e-3, atol=1e-4)
    except Exception as error:
        logger.info("explanations run without folded BatchNorm: %s", str(error).splitlines()[:1])
        return own
    return folded
