"""A classifier of a table's rows: three numbers and one of two plans."""

from __future__ import annotations

from typing import Any

import torch

from mnist_handler import InputSpec, RowHandler


def model() -> torch.nn.Module:
    """Leaves when the first number is large. (TorchServe wants one class in a handler's file.)"""

    class Model(torch.nn.Module):
        def forward(self, usage: torch.Tensor, plan: torch.Tensor) -> torch.Tensor:
            score = usage[:, 0] * 4 - usage[:, 1] + plan.to(usage.dtype)
            return torch.stack([-score, score], 1)

    return Model()


class Churn(RowHandler):
    inputs = (InputSpec("usage", "FP32", (3,)), InputSpec("plan", "INT64", (), low=0, high=1))

    def load(self, context: Any) -> Any:
        return model().eval()
