"""A classifier of text whose one word decides: what an explanation must say is known."""

from __future__ import annotations

from typing import Any, List, Sequence

import numpy as np
import torch

from mnist_handler import InputSpec, RowHandler

WORDS = ("[PAD]", "[UNK]", "good", "bad", "a", "film", "very")


def mean() -> torch.nn.Module:
    """Each word's own score for either class, averaged. (TorchServe wants one class in a handler's file.)"""

    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = torch.nn.Embedding(len(WORDS), 2)
            with torch.no_grad():
                self.words.weight.zero_()
                self.words.weight[WORDS.index("good")] = torch.tensor([-8.0, 8.0])
                self.words.weight[WORDS.index("bad")] = torch.tensor([8.0, -8.0])

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            weights = mask.unsqueeze(-1).to(torch.float32)
            scores: torch.Tensor = (self.words(ids) * weights).sum(1) / weights.sum(1)
            return scores

    return Mean()


class Words(RowHandler):
    ids = InputSpec("ids", "INT64", (-1,), low=0, high=6, pad=0, buckets=(4, 8), companion="mask", embedding="words")
    inputs = (InputSpec("text", "BYTES", (), becomes=ids),)

    def load(self, context: Any) -> Any:
        return mean().eval()

    def encode(self, spec: InputSpec, values: Sequence[Any], parameters: Any) -> List[np.ndarray[Any, Any]]:
        return [np.array([WORDS.index(one) if one in WORDS else 1 for one in text.split()]) for text in values]

    def tokens(self, spec: InputSpec, ids: np.ndarray[Any, Any]) -> List[str]:
        return [WORDS[one] for one in ids.tolist()]
