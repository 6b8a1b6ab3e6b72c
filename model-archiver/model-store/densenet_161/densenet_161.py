"""DenseNet-161 as torchvision has it (Huang et al. 2017), as TorchServe can build it: a class without arguments."""

from __future__ import annotations

from torchvision.models.densenet import DenseNet


class DenseNet161(DenseNet):  # type: ignore[misc]
    """Input: [n, 3, 224, 224], normalised with ImageNet's mean and deviation. Output: logits [n, 1000]."""

    def __init__(self) -> None:
        super().__init__(growth_rate=48, block_config=(6, 12, 36, 24), num_init_features=96)
