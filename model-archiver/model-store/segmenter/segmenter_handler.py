"""The class of each pixel: a mask as large as what the model sees, in integers."""

from __future__ import annotations

from mnist_handler import ImageClassifier, OutputSpec


class ImageSegmenter(ImageClassifier):
    """The shorter side becomes 256 pixels, and the centre is cut out; mean and deviation are ImageNet's."""

    row_shape = (3, 256, 256)
    resize = 256
    outputs = (OutputSpec("mask", "UINT8", (256, 256)),)
