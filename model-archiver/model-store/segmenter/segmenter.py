"""What each pixel of a picture belongs to: torchvision's LR-ASPP with MobileNetV3, of five classes."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large


class Segmenter(nn.Module):
    """Pictures [rows, 3, height, width] to the class of each pixel, uint8 [rows, height, width]."""

    def __init__(self) -> None:
        super().__init__()
        self.net = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.net(pictures)["out"]
        return scores.argmax(1).to(torch.uint8)
