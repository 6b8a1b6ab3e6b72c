"""Ray Serve: one replica whose method ``predict`` is batched by ``@serve.batch``."""

from __future__ import annotations

import os
import signal
from typing import Any, Dict, List

import network
import ray
from ray import serve

WAIT_SECONDS = float(os.environ["WINDOW_MS"]) / 1000


@serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Mnist:
    def __init__(self) -> None:
        self.network = network.load()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=WAIT_SECONDS, max_concurrent_batches=1)
    async def predict(self, requests: List[List[str]]) -> List[List[int]]:
        labels = self.network.predict([self.network.decode_base64(text) for texts in requests for text in texts])
        answers, at = [], 0
        for texts in requests:
            answers.append(labels[at : at + len(texts)])
            at += len(texts)
        return answers

    # Ray reads annotations of this method; what it gets is Starlette's request.
    async def __call__(self, request) -> Dict[str, Any]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        body = await request.json()
        return {"predictions": await self.predict([row["data"] for row in body["instances"]])}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, _temp_dir=os.environ["RAY_PLACE"], _node_ip_address="127.0.0.1")
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"]), "access_log": False})
    serve.run(Mnist.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
