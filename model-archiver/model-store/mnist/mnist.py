"""The digit classifier. TorchServe takes the only class of this file for the model: keep it the only one."""

from __future__ import annotations

import torch
from torch import nn


class MNISTClassifier(nn.Module):
    """A small CNN: 26 thousand parameters, 1.04 million multiply-adds an image.

    Input: [n, 1, 28, 28], float, normalised with mean 0.1307 and deviation 0.3081. Output: logits [n, 10].

    The first convolution strides where others pool, so that the costly second one sees a quarter of the pixels;
    channels are multiples of 16, which fill a CPU's vector registers. Every BatchNorm follows its convolution
    directly, so that ``torch.jit.freeze`` folds it away. Activations and pooling are modules, each used once:
    Captum's DeepLift and layer methods need both.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=5, stride=2, padding=2, bias=False),  # [n, 16, 14, 14]
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, kernel_size=3, bias=False),  # [n, 32, 12, 12]
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),  # [n, 32, 6, 6]
            nn.Conv2d(32, 64, kernel_size=3, bias=False),  # [n, 64, 4, 4]
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),  # [n, 64, 2, 2]
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(images))
        return logits
