"""What AOTInductor made of the model, ahead of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn


class Packaged(nn.Module):
    """Loads ``model.pt2`` beside this file; float32 (or token ids) in, float32 out."""

    def __init__(self) -> None:
        super().__init__()
        self._run = torch._inductor.aoti_load_package(str(Path(__file__).with_name("model.pt2")))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self._run(rows)
        return scores

    def __deepcopy__(self, _: Any) -> Packaged:
        return self  # it has no weights to change
