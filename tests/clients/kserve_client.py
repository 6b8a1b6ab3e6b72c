"""Speaks to the wrapper with KServe's own SDK clients and prints what they say as JSON.

A program of its own: kserve's messages and tritonclient's cannot be loaded into one process.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

from tests.samples import images
from tests.serving.mixed import encoded, png


def tensor_request(name: str, binary: bool) -> InferRequest:
    tensor = InferInput("input-0", [3, 1, 28, 28], "FP32")
    tensor.set_data_from_numpy((images()[:3, None] / 255).astype(np.float32), binary_data=binary)
    return InferRequest("mnist", [tensor], request_id=name)


def bytes_request(name: str) -> InferRequest:
    tensor = InferInput("input-0", [2], "BYTES")
    tensor.set_data_from_numpy(np.array([png(0), png(1)], dtype=np.object_), binary_data=True)
    return InferRequest("mnist", [tensor], request_id=name)


def plain(response: Any) -> Any:
    return {"id": response.id, "outputs": {o.name: o.as_numpy().tolist() for o in response.outputs}}


async def rest(base: str) -> dict[str, Any]:
    v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
    v2 = InferenceRESTClient(RESTConfig(protocol="v2"))
    rows = {"instances": [{"data": encoded(0)}, {"data": encoded(1)}]}
    async with v1, v2:
        return {
            "v1 live": await v1.is_server_live(base),
            "v1 model ready": await v1.is_model_ready(base, "mnist"),
            "v1 predict": await v1.infer(base, rows, model_name="mnist"),
            "v1 explain": len((await v1.explain(base, "mnist", rows))["explanations"]),
            "v2 live": await v2.is_server_live(base),
            "v2 ready": await v2.is_server_ready(base),
            "v2 model ready": await v2.is_model_ready(base, "mnist"),
            "v2 json": plain(await v2.infer(base, tensor_request("a", False), model_name="mnist")),
            "v2 binary": plain(await v2.infer(base, tensor_request("b", True), model_name="mnist")),
            "v2 bytes": plain(await v2.infer(base, bytes_request("c"), model_name="mnist")),
        }


async def grpc(address: str) -> dict[str, Any]:
    async with InferenceGRPCClient(address) as client:
        return {
            "grpc live": await client.is_server_live(),
            "grpc ready": await client.is_server_ready(),
            "grpc model ready": await client.is_model_ready("mnist"),
            "grpc typed": plain(await client.infer(tensor_request("d", False))),
            "grpc raw": plain(await client.infer(tensor_request("e", True))),
        }


async def main() -> None:
    base, address = sys.argv[1:]
    print(json.dumps({**await rest(base), **await grpc(address)}))


asyncio.run(main())
