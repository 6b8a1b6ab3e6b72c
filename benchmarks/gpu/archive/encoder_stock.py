"""TorchServe's base handler over rows of token ids, as short as its documentation would have it."""

from __future__ import annotations

from typing import Any, Dict, List

import torch
from ts.torch_handler.base_handler import BaseHandler


class StockEncoder(BaseHandler):
    def preprocess(self, data: List[Dict[str, Any]]) -> torch.Tensor:
        return torch.as_tensor([row["data"] for row in data], device=self.device)
