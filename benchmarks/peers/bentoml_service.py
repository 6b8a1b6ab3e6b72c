"""BentoML: a service with one batchable API."""

from __future__ import annotations

import os
from typing import List

import bentoml
import network


@bentoml.service(workers=1)
class Mnist:
    def __init__(self) -> None:
        self.network = network.load()

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=int(os.environ["LATENCY_MS"]))
    def predict(self, images: List[str]) -> List[int]:
        return self.network.predict([self.network.decode_base64(image) for image in images])
