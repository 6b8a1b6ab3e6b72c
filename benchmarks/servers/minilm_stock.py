"""MiniLM under a handler of TorchServe's own kind, as its Transformer example is written: texts of one batch, one call.

It gets the same tokenizer as this project's handler, and pads to the longest text of the batch.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import torch
from ts.torch_handler.base_handler import BaseHandler
from wordpiece import WordPiece

Inputs = Tuple[torch.Tensor, torch.Tensor]


class StockSentences(BaseHandler):  # type: ignore[misc]
    """Texts in, vectors out."""

    def initialize(self, context: Any) -> None:
        super().initialize(context)
        folder = context.system_properties.get("model_dir")
        with open(f"{folder}/vocab.txt", encoding="utf-8") as file:
            self.tokenizer = WordPiece(file.read().splitlines())

    def preprocess(self, data: List[Dict[str, Any]]) -> Inputs:
        texts = [row.get("data") or row["body"] for row in data]
        rows = [self.tokenizer(text if isinstance(text, str) else text.decode()) for text in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        return ids.to(self.device), mask.to(self.device)

    def inference(self, data: Inputs, *args: Any, **kwargs: Any) -> torch.Tensor:
        with torch.no_grad():
            vectors: torch.Tensor = self.model(*data)
            return vectors

    def postprocess(self, data: torch.Tensor) -> List[List[float]]:
        rows: List[List[float]] = data.tolist()
        return rows
