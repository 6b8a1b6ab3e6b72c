#!/usr/bin/env python3
"""Train the churn model: seconds on a CPU, no download.

    python model-archiver/model-store/churn/fetch.py

The customers are drawn by code, by a rule that says who leaves: calls to support and a high price speak for it, years
as a customer and a long contract (plan 3) against it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Optional, Sequence, Tuple

import torch
from torch import nn

from kserve_wrapper.archiver import weights

HERE = Path(__file__).parent
SEED, CUSTOMERS, STEPS = 7, 4000, 300
#: How much each plan speaks for leaving: by the month, a year, two years, three.
PLANS = (1.0, 0.3, -0.5, -1.5)


def customers(count: int, seed: int) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """usage, plan, paperless and who leaves (1), drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    price = 10 + 90 * torch.rand(count, generator=generator)
    calls = torch.poisson(torch.full((count,), 1.5), generator=generator)
    months = (72 * torch.rand(count, generator=generator)).floor()
    data = 30 * torch.rand(count, generator=generator)
    plan = torch.randint(0, len(PLANS), (count,), generator=generator)
    paperless = torch.rand(count, generator=generator) < 0.5
    score = 0.03 * (price - 55) + 0.8 * (calls - 1.5) - 0.05 * (months - 30) + torch.tensor(PLANS)[plan]
    leaves = torch.rand(count, generator=generator) < torch.sigmoid(2 * score)
    return torch.stack([price, calls, months, data], dim=1), plan, paperless, leaves.float()


@weights.one_thread()
def train() -> Tuple[nn.Module, float]:
    """The model, and its share of right answers on customers that it has not seen."""
    torch.manual_seed(SEED)
    model = weights.network(HERE / "churn.py", "Churn")
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    *inputs, leaves = customers(CUSTOMERS, SEED)
    for _ in range(STEPS):
        loss = nn.functional.binary_cross_entropy_with_logits(model(*inputs)[:, 0], leaves)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    *inputs, leaves = customers(CUSTOMERS, SEED + 1)
    with torch.no_grad():
        right = float(((model(*inputs)[:, 0] > 0) == (leaves > 0)).float().mean())
    return model.eval(), right


def fetch(folder: Path, random_weights: bool) -> str:
    """Write churn.pt into ``folder``; nothing is downloaded either way."""
    model, right = train()
    weights.save(model.state_dict(), folder / "churn.pt")
    return f"{folder / 'churn.pt'}: {right:.0%} of new customers right"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point: 0, or 1 with the cause on stderr."""
    return weights.main(__doc__, HERE, fetch, arguments)


if __name__ == "__main__":
    sys.exit(main())
