"""A detector of objects: torchvision's SSDlite with MobileNetV3, of ten classes beside the background."""

from __future__ import annotations

from typing import Dict, List

import torch
from torch import nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

#: Side of the pictures that it takes.
SIDE = 320


class Detector(nn.Module):
    """Pictures [rows, 3, 320, 320] of values 0..1 to what is seen in each.

    A row's answer has ``boxes`` [found, 4], ``scores`` [found] and ``labels`` [found]. A box is left, top, right and
    bottom, as shares of the picture's width and height.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net = ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=11, detections_per_img=50
        )

    def forward(self, pictures: torch.Tensor) -> List[Dict[str, torch.Tensor]]:
        found: List[Dict[str, torch.Tensor]] = self.net(list(pictures))
        return [{**one, "boxes": one["boxes"] / SIDE} for one in found]
