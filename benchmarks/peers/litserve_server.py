"""LitServe: the five steps of its LitAPI, with dynamic batching."""

import os
from typing import Any, Dict, List

import litserve
import network


class Mnist(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.network = network.load()

    # LitServe reads annotations of this method as a query's; without one the body is JSON.
    def decode_request(self, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        return [self.network.decode_base64(row["data"]) for row in request["instances"]]

    def batch(self, inputs: List[List[Any]]) -> List[List[Any]]:
        return inputs

    def predict(self, inputs: List[List[Any]]) -> List[List[int]]:
        labels = self.network.predict([image for images in inputs for image in images])
        answers, at = [], 0
        for images in inputs:
            answers.append(labels[at : at + len(images)])
            at += len(images)
        return answers

    def unbatch(self, output: List[List[int]]) -> List[List[int]]:
        return output

    def encode_response(self, output: List[int]) -> Dict[str, Any]:
        return {"predictions": output}


if __name__ == "__main__":
    api = Mnist(max_batch_size=int(os.environ.get("BATCH", "64")), batch_timeout=float(os.environ["WINDOW_MS"]) / 1000)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False, log_level="warning")
