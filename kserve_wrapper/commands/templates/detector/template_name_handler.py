"""The handler: images in, boxes out, as many a row as there are. The rest comes from its base."""

from mnist_handler import ImageClassifier, OutputSpec


class TemplateNameHandler(ImageClassifier):
    """Encoded images (PNG, JPEG, …) or tensors in, boxes and their scores out."""

    row_shape = (3, 32, 32)
    #: The model takes 0..1, so nothing is subtracted.
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)
    outputs = (OutputSpec("boxes", "FP32", (-1, 4)), OutputSpec("scores", "FP32", (-1,)))
