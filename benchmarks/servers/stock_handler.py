"""TorchServe's own vision handler, made to answer digits: as short as its documentation would have it."""

from __future__ import annotations

from typing import List

import torch
from torchvision import transforms
from ts.torch_handler.vision_handler import VisionHandler


class StockDigits(VisionHandler):
    """VisionHandler with MNIST's normalisation; the answer is the digit."""

    image_processing = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))],
    )

    def postprocess(self, data: torch.Tensor) -> List[int]:
        labels: List[int] = data.argmax(1).tolist()
        return labels
