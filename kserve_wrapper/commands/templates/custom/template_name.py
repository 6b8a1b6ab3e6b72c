"""The model: a straight line through what it was fitted to. Put yours in its place."""

import torch
from torch import nn


class TemplateName(nn.Module):
    """Values [rows, 3] to one number a row, [rows, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(3, 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        estimate: torch.Tensor = self.line(values)
        return estimate
