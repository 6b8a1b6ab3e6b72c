"""The handler of the DenseNet-161 archive: ImageNet's classes by ImageNet's transforms."""

from __future__ import annotations

from mnist_handler import ImageClassifier


class DenseNet161Classifier(ImageClassifier):
    """Names one of ImageNet's 1000 classes; mean and deviation of ``ImageClassifier`` are ImageNet's."""

    row_shape = (3, 224, 224)
    resize = 256
