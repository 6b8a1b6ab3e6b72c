"""MLServer: a custom runtime, as its documentation shows, with adaptive batching (see servers/peers.py)."""

from __future__ import annotations

import network
import numpy as np
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Mnist(MLModel):
    async def load(self) -> bool:
        self.network = network.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (tensor,) = payload.inputs
        if tensor.datatype == "BYTES":
            images = [self.network.decode(image) for image in Base64Codec.decode_input(tensor)]
            labels = self.network.predict(images)
        else:
            rows = NumpyCodec.decode_input(tensor)
            labels = self.network.predict_floats(rows)
        output = NumpyCodec.encode_output("predict", np.asarray(labels, dtype=np.int64)[:, None])
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[output])
