"""The copy that explanations go through."""

from __future__ import annotations

from typing import List

import torch
from torch import fx, nn

from mnist_handler.compute.folding import eager_copy


def test_folding_is_checked_in_full_float32() -> None:
    """On a GPU; a CPU has no TF32, so the setting is looked at, not its effect."""
    allowed: List[bool] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            allowed.append(torch.backends.cudnn.allow_tf32)
            scores: torch.Tensor = self.norm(self.conv(rows))
            return scores

    before = torch.backends.cudnn.allow_tf32
    copy = eager_copy(Watched(), [torch.zeros(2, 1, 5, 5)])
    assert allowed[-1] is False
    assert torch.backends.cudnn.allow_tf32 == before
    assert isinstance(copy, fx.GraphModule)
    assert "norm" not in copy.code
