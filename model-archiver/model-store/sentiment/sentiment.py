"""A small classifier of text: BERT's kind of encoder with one layer, and the mean of what it says of each token."""

from __future__ import annotations

import torch
from torch import nn

#: Tokens that a text may have.
LONGEST = 64


class Sentiment(nn.Module):
    """Token ids [rows, tokens] and their mask (1 = token, 0 = padding) to logits [rows, 2]: negative, positive."""

    def __init__(self, words: int = 128, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.positions = nn.Embedding(LONGEST, width)
        self.layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True)
        self.head = nn.Linear(width, 2)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        states = self.layer(self.words(ids) + self.positions(places), src_key_padding_mask=mask == 0)
        weights = mask.unsqueeze(-1).to(states.dtype)
        logits: torch.Tensor = self.head((states * weights).sum(1) / weights.sum(1))
        return logits
