"""The handler: what a row is. Batches, protocols, errors by row and explanations come from its base."""

from mnist_handler import ImageClassifier


class TemplateNameHandler(ImageClassifier):
    """Encoded images (PNG, JPEG, …) or tensors in, one of three labels out."""

    row_shape = (3, 32, 32)
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
