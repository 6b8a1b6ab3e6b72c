"""An encoder of MiniLM's size (6 layers of 384, 12 heads): token ids to one embedding a row; its weights are random."""

import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30522, 384)
        self.places = nn.Embedding(128, 384)
        layer = nn.TransformerEncoderLayer(384, 12, 1536, dropout=0.0, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.words(ids) + self.places.weight[: ids.shape[1]]
        return self.layers(hidden).mean(1)
