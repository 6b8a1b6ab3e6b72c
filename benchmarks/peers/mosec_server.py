"""mosec: one worker process with dynamic batching. Its waiting time comes by ``--wait``, as its port and address do."""

from __future__ import annotations

import os
from typing import Any, Dict, List

import mosec
import network

BATCH = int(os.environ.get("BATCH", "64"))


class Mnist(mosec.Worker):
    def __init__(self) -> None:
        self.network = network.load()

    def forward(self, data: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
        counts = [len(one["instances"]) for one in data]
        images = [self.network.decode_base64(row["data"]) for one in data for row in one["instances"]]
        labels = self.network.predict(images)
        answers, at = [], 0
        for count in counts:
            answers.append({"predictions": labels[at : at + count]})
            at += count
        return answers


if __name__ == "__main__":
    server = mosec.Server()
    server.append_worker(Mnist, num=1, max_batch_size=BATCH)
    server.run()
