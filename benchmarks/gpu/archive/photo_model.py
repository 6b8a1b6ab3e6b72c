"""A network of ResNet-50's shape; its weights are random."""

from torchvision.models.resnet import Bottleneck, ResNet


class Photographs(ResNet):
    def __init__(self) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3])
