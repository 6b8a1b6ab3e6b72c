"""A transformer in front of the MNIST service: pictures in by V1, normalised tensors to the predictor by V2.

    python transformer.py --model_name mnist --predictor_host HOST:PORT --predictor_protocol v2

KServe gives a transformer these arguments. The predictor then neither decodes nor normalises, since each request says
``normalized: true``. Needs kserve, NumPy and Pillow.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import io
from typing import Any, Dict, List, Optional, Union

import numpy as np
from kserve import InferInput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput
from kserve.model_server import parser as server_parser
from PIL import Image

#: What the network was trained with; of 28x28 pixels.
MEAN, DEVIATION, SIDE = 0.1307, 0.3081, 28


def row(number: int, instance: Any) -> np.ndarray[Any, Any]:
    """One normalised row, [1, 28, 28].

    Raises:
        InvalidInput: not a picture in base64; the message names the row.
    """
    try:
        content = base64.b64decode(instance["data"], validate=True)
        with Image.open(io.BytesIO(content)) as picture:
            pixels = np.asarray(picture.convert("L").resize((SIDE, SIDE)), np.float32) / 255
    except (KeyError, TypeError, binascii.Error, OSError) as error:
        raise InvalidInput(f'row {number}: not {{"data": picture in base64}}: {error}') from None
    return np.asarray((pixels - MEAN) / DEVIATION, np.float32)[np.newaxis]


class Normalizer(Model):  # type: ignore[misc]
    """V1 in and out; V2 with an FP32 tensor between."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ready = True

    async def preprocess(self, payload: Dict[str, Any], headers: Optional[Dict[str, str]] = None) -> InferRequest:
        instances: List[Any] = payload.get("instances") or []
        if not instances:
            raise InvalidInput('"instances" must hold at least one row')
        tensor = np.stack([row(number, instance) for number, instance in enumerate(instances)])
        sent = InferInput("image", list(tensor.shape), "FP32", parameters={"normalized": True})
        sent.set_data_from_numpy(tensor, binary_data=True)
        return InferRequest(self.name, [sent])

    async def postprocess(
        self, result: Union[Dict[str, Any], InferResponse], headers: Any = None, response_headers: Any = None
    ) -> Dict[str, Any]:
        if isinstance(result, InferResponse):
            return {"predictions": result.outputs[0].as_numpy().tolist()}
        return {"predictions": result["outputs"][0]["data"]}


if __name__ == "__main__":
    command_line = argparse.ArgumentParser(parents=[server_parser], conflict_handler="resolve")
    arguments, _ = command_line.parse_known_args()
    ModelServer().start([Normalizer(arguments.model_name)])
