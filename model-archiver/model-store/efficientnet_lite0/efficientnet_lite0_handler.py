"""The handler of the EfficientNet-Lite0 archive: ImageNet's classes of photographs, with heat maps over them."""

from __future__ import annotations

from mnist_handler import ImageClassifier


class EfficientNetLite0Classifier(ImageClassifier):
    """Names one of ImageNet's 1000 classes."""

    row_shape = (3, 224, 224)
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    resize = 256
