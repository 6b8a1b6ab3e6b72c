"""ResNet-50's input as TorchServe's image_classifier prepares it."""

from pathlib import Path

from mnist_handler import ImageClassifier


class PhotographHandler(ImageClassifier):
    resize = 256
    # A compiled package has no gradients.
    explainable = not Path(__file__).with_name("model.pt2").exists()
