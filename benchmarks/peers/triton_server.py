"""Triton, by PyTriton: its Python backend with dynamic batching; one model for encoded images, one for tensors."""

from __future__ import annotations

import os
from typing import List

import network
import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig, TritonSecurityConfig

BATCH = 64
LABELS = [Tensor(name="predict", dtype=np.int64, shape=(1,))]


def column(labels: List[int]) -> np.ndarray:
    """int64 [rows, 1]."""
    return np.asarray(labels, dtype=np.int64)[:, None]


def main() -> None:
    model = network.load()

    @batch
    def images(**inputs: np.ndarray) -> List[np.ndarray]:
        return [column(model.predict([model.decode(one) for one in inputs["input-0"][:, 0]]))]

    @batch
    def tensors(**inputs: np.ndarray) -> List[np.ndarray]:
        return [column(model.predict_floats(inputs["input-0"]))]

    wait = int(float(os.environ["WINDOW_MS"]) * 1000)
    batching = ModelConfig(max_batch_size=BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=wait))
    config = TritonConfig(
        http_address="127.0.0.1",
        grpc_address="127.0.0.1",
        metrics_address="127.0.0.1",
        http_port=int(os.environ["PORT"]),
        grpc_port=int(os.environ["GRPC_PORT"]),
        metrics_port=int(os.environ["METRICS_PORT"]),
    )
    # As Triton alone has it: perf_analyzer asks for statistics, which PyTriton would ask a token for.
    with Triton(config=config, security_config=TritonSecurityConfig(restricted_endpoints=[])) as triton:
        encoded = [Tensor(name="input-0", dtype=bytes, shape=(1,))]
        triton.bind("mnist", images, encoded, LABELS, config=batching)
        rows = [Tensor(name="input-0", dtype=np.float32, shape=(1, 28, 28))]
        triton.bind("mnist_tensors", tensors, rows, LABELS, config=batching)
        triton.serve()


if __name__ == "__main__":
    main()
