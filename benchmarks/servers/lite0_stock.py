"""TorchServe's image_classifier for EfficientNet-Lite0, which was trained with a mean and deviation of its own."""

from torchvision import transforms
from ts.torch_handler.image_classifier import ImageClassifier


class Lite0(ImageClassifier):  # type: ignore[misc]
    image_processing = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((127 / 255,) * 3, (128 / 255,) * 3),
        ]
    )
