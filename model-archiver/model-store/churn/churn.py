"""Whether a customer leaves: a small network over a table of numbers, a plan and a yes or no."""

from __future__ import annotations

import torch
from torch import nn


class Churn(nn.Module):
    """usage [rows, 4], plan [rows] of 0 to 3, paperless [rows] to the logit of leaving, [rows, 1]."""

    def __init__(self, plans: int = 4, width: int = 16) -> None:
        super().__init__()
        self.plan = nn.Embedding(plans, 4)
        self.body = nn.Sequential(nn.Linear(9, width), nn.Tanh(), nn.Linear(width, 1))
        # Of the columns of usage: what they are divided by to be around 1.
        self.register_buffer("scale", torch.tensor([50.0, 2.0, 24.0, 10.0]))

    def forward(self, usage: torch.Tensor, plan: torch.Tensor, paperless: torch.Tensor) -> torch.Tensor:
        columns = [usage / self.scale, self.plan(plan), paperless.to(usage.dtype)[:, None]]
        logits: torch.Tensor = self.body(torch.cat(columns, dim=1))
        return logits
