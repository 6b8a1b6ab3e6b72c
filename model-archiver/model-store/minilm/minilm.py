"""The sentence encoder all-MiniLM-L6-v2: BERT's encoder with six layers, and the mean of what it says of each token."""

from __future__ import annotations

import torch
from torch import nn


class MiniLM(nn.Module):
    """Token ids [rows, tokens] and their mask (1 = token, 0 = padding) to unit vectors [rows, width].

    BERT (Devlin et al. 2018) with the pooling of Sentence-BERT (Reimers and Gurevych 2019).
    """

    def __init__(
        self, words: int = 30522, width: int = 384, heads: int = 12, inner: int = 1536, layers: int = 6
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.positions = nn.Embedding(512, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, inner, activation="gelu", layer_norm_eps=1e-12, batch_first=True)
            for _ in range(layers)
        )

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        states = self.norm(self.words(ids) + self.positions(places))
        for layer in self.layers:
            states = layer(states, src_key_padding_mask=mask == 0)
        weights = mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weights).sum(1) / weights.sum(1).clamp(min=1)
        embedding: torch.Tensor = nn.functional.normalize(mean, dim=1)
        return embedding
