"""EfficientNet-Lite0: EfficientNet (Tan and Le 2019) without squeeze-and-excitation, and with ReLU6."""

from __future__ import annotations

from typing import List

import torch
from torch import nn

#: Of each stage: kernel, stride of its first block, expansion, channels, blocks.
STAGES = (
    *((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3)),
    *((5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1)),
)


def convolution(
    given: int, made: int, kernel: int, stride: int = 1, groups: int = 1, acts: bool = True
) -> List[nn.Module]:
    """A convolution with its BatchNorm and ReLU6, of TensorFlow's padding: where it is odd, the more at the end."""
    around = kernel - stride
    before, after = around // 2, around - around // 2
    layers: List[nn.Module] = [nn.ZeroPad2d((before, after, before, after))] if around else []
    layers += [nn.Conv2d(given, made, kernel, stride, groups=groups, bias=False), nn.BatchNorm2d(made, eps=1e-3)]
    return [*layers, nn.ReLU6()] if acts else layers


def block(given: int, made: int, kernel: int, stride: int, expansion: int) -> nn.Sequential:
    """Wider, each channel by itself, and narrow again without activation."""
    wide = given * expansion
    wider = convolution(given, wide, 1) if expansion > 1 else []
    return nn.Sequential(
        *wider, *convolution(wide, wide, kernel, stride, groups=wide), *convolution(wide, made, 1, acts=False)
    )


class EfficientNetLite0(nn.Module):
    """Images [rows, 3, 224, 224], normalised with mean 127/255 and deviation 128/255, to logits [rows, 1000]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*convolution(3, 32, 3, 2))
        blocks, channels = [], 32
        self.adds: List[bool] = []
        for kernel, first_stride, expansion, made, count in STAGES:
            for number in range(count):
                stride = 1 if number else first_stride
                blocks.append(block(channels, made, kernel, stride, expansion))
                self.adds.append(stride == 1 and channels == made)
                channels = made
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Sequential(*convolution(channels, 1280, 1))
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        states = self.stem(images)
        for adds, one in zip(self.adds, self.blocks):
            states = states + one(states) if adds else one(states)
        logits: torch.Tensor = self.classifier(self.head(states))
        return logits
