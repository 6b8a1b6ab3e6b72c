"""Handwritten digits."""

from __future__ import annotations

from mnist_handler.image_classifier import ImageClassifier


class MNISTDigitClassifier(ImageClassifier):
    """Digits 0 to 9 in greyscale, 28x28, white on black as in the MNIST data."""

    # TorchServe takes the one class that belongs to the handler's module, which is the package.
    __module__ = "mnist_handler"

    row_shape = (1, 28, 28)
    mean = (0.1307,)
    std = (0.3081,)
    background = 0
