"""Photographs as TorchServe's image_classifier prepares them; everything else is the package's default."""

from mnist_handler import ImageClassifier


class PhotographHandler(ImageClassifier):
    resize = 256
