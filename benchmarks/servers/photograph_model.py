"""A network of ResNet-18's shape."""

from torchvision.models.resnet import BasicBlock, ResNet


class Photographs(ResNet):
    def __init__(self) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2])
