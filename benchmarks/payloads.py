"""What travels: one HTTP request for each protocol and form, and the same for gRPC."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

from benchmarks.images import pixels

JSON_HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class HttpRequest:
    """One POST, ready to send. ``rows`` is how many images it carries."""

    path: str
    body: bytes
    rows: int
    headers: Mapping[str, str] = field(default_factory=lambda: dict(JSON_HEADERS))


def unit_floats(png: bytes) -> np.ndarray:
    """float32 [1, 28, 28] in 0..1, with four decimals as in KServe's sample requests."""
    return np.round(pixels(png).astype(np.float32) / 255, 4)[None]


def v1(path: str, images: Sequence[bytes]) -> HttpRequest:
    """KServe V1: one instance an image, base64."""
    instances = [{"data": base64.b64encode(image).decode()} for image in images]
    return HttpRequest(path, json.dumps({"instances": instances}).encode(), len(images))


def v1_texts(path: str, texts: Sequence[bytes]) -> HttpRequest:
    """KServe V1: one instance a text, in UTF-8."""
    instances = [{"data": text.decode()} for text in texts]
    return HttpRequest(path, json.dumps({"instances": instances}).encode(), len(texts))


def raw_image(path: str, images: Sequence[bytes]) -> HttpRequest:
    """TorchServe's own form: the file is the body. One image only."""
    (image,) = images
    return HttpRequest(path, image, 1, {"Content-Type": "application/octet-stream"})


def _v2(path: str, inputs: List[Dict[str, Any]], rows: int) -> HttpRequest:
    return HttpRequest(path, json.dumps({"id": "bench", "inputs": inputs}).encode(), rows)


def v2_bytes(path: str, images: Sequence[bytes], **parameters: str) -> HttpRequest:
    """V2: one BYTES input, one base64 element an image."""
    data = [base64.b64encode(image).decode() for image in images]
    tensor: Dict[str, Any] = {"name": "input-0", "shape": [len(images)], "datatype": "BYTES", "data": data}
    if parameters:
        tensor["parameters"] = parameters
    return _v2(path, [tensor], len(images))


def v2_json(path: str, images: Sequence[bytes]) -> HttpRequest:
    """V2: one FP32 input [rows, 1, 28, 28], nested numbers."""
    array = np.stack([unit_floats(image) for image in images])
    data = [[[[float(f"{x:.4f}") for x in line] for line in row] for row in image] for image in array]
    return _v2(path, [{"name": "input-0", "shape": list(array.shape), "datatype": "FP32", "data": data}], len(images))


def v2_separate_bytes(path: str, images: Sequence[bytes]) -> HttpRequest:
    """V2 for stock envelopes, which read one element of each BYTES input: one input an image."""
    inputs = [
        {"name": f"input-{index}", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(image).decode()]}
        for index, image in enumerate(images)
    ]
    return _v2(path, inputs, len(images))


def v2_separate_json(path: str, images: Sequence[bytes]) -> HttpRequest:
    """V2 for stock envelopes, whose handler stacks the inputs itself: one FP32 input [1, 28, 28] an image."""
    inputs: List[Dict[str, Any]] = []
    for index, image in enumerate(images):
        data = [[[float(f"{x:.4f}") for x in line] for line in row] for row in unit_floats(image)]
        inputs.append({"name": f"input-{index}", "shape": [1, 28, 28], "datatype": "FP32", "data": data})
    return _v2(path, inputs, len(images))


def v2_binary(path: str, images: Sequence[bytes]) -> HttpRequest:
    """V2 with the binary tensor data extension, in and out: FP32 [rows, 1, 28, 28]."""
    array = np.stack([unit_floats(image) for image in images]).astype("<f4")
    tensor = {
        "name": "input-0",
        "shape": list(array.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": array.nbytes},
    }
    header = json.dumps({"id": "bench", "inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    return HttpRequest(path, header + array.tobytes(), len(images), headers)


def _lengths_and(contents: Sequence[bytes]) -> bytes:
    """V2's raw form of BYTES: each element after its length."""
    return b"".join(struct.pack("<I", len(content)) + content for content in contents)


def v2_binary_bytes(path: str, images: Sequence[bytes], shape: Sequence[int] = (1,)) -> HttpRequest:
    """V2 with the binary tensor data extension, in and out: BYTES [rows, *shape], the contents as they are."""
    data = _lengths_and(images)
    tensor = {
        "name": "input-0",
        "shape": [len(images), *shape],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(data)},
    }
    header = json.dumps({"id": "bench", "inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    return HttpRequest(path, header + data, len(images), headers)


def grpc_typed(model: str, images: Sequence[bytes]) -> bytes:
    """A serialised ModelInferRequest: one FP32 input in ``contents.fp32_contents``."""
    return _grpc(model, np.stack([unit_floats(image) for image in images]), raw=False)


def grpc_typed_image(model: str, images: Sequence[bytes]) -> bytes:
    """The same for stock envelopes, whose handler adds the batch dimension: FP32 [1, 28, 28], one image only."""
    (image,) = images
    return _grpc(model, unit_floats(image), raw=False)


def grpc_raw(model: str, images: Sequence[bytes]) -> bytes:
    """A serialised ModelInferRequest: one FP32 input in ``raw_input_contents``."""
    return _grpc(model, np.stack([unit_floats(image) for image in images]), raw=True)


def grpc_raw_bytes(model: str, contents: Sequence[bytes]) -> bytes:
    """A serialised ModelInferRequest: one BYTES input [rows] in ``raw_input_contents``."""
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name=model, id="bench")
    request.inputs.add(name="input-0", datatype="BYTES", shape=[len(contents)])
    request.raw_input_contents.append(_lengths_and(contents))
    return bytes(request.SerializeToString())


def _grpc(model: str, array: np.ndarray, raw: bool) -> bytes:
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name=model, id="bench")
    tensor = request.inputs.add(name="input-0", datatype="FP32", shape=list(array.shape))
    if raw:
        request.raw_input_contents.append(array.astype("<f4").tobytes())
    else:
        tensor.contents.fp32_contents.extend(array.ravel().tolist())
    return bytes(request.SerializeToString())


def grpc_frame(message: bytes) -> bytes:
    """One uncompressed gRPC message on the wire: flag byte, length as u32 big-endian, message."""
    return struct.pack(">BI", 0, len(message)) + message
