"""What is seen in a picture, and where: as many boxes as there are."""

from __future__ import annotations

from typing import Any

from mnist_handler import DeclaredParameter, ImageClassifier, OutputSpec


class ObjectDetector(ImageClassifier):
    """Any picture, squashed to 320 by 320; boxes are shares of its width and height, so they fit the client's own."""

    row_shape = (3, 320, 320)
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # the model normalises
    outputs = (
        OutputSpec("boxes", "FP32", (-1, 4)),
        OutputSpec("scores", "FP32", (-1,)),
        OutputSpec("labels", "INT64", (-1,)),
    )
    parameters = (DeclaredParameter("threshold", float, 0.95, low=0, high=1, text="the least score of a box"),)

    def inference(self, data: Any, *args: Any, **parameters: Any) -> Any:
        kept = [(row, row["scores"] >= parameters["threshold"]) for row in self.model(data)]
        return [{spec.name: row[spec.name][keep] for spec in self.outputs} for row, keep in kept]
