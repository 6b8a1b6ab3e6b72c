"""Hostile input that once did harm, or that fuzzing is unlikely to meet: each case with its one right outcome."""

from __future__ import annotations

import base64
import io
import json
import struct
import time
import zlib
from typing import Any, Iterator

import orjson
import pytest
from PIL import Image

from kserve_wrapper.codecs import oip_grpc, v1, v2
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.torchserve import snapshot, tokens
from tests.unit.fuzz.test_handler import answered
from tests.unit.fuzz.test_wrapper_parsers import MESSAGES, declared
from tests.unit.fuzz.worker import JSON, RAW

#: Seconds; a multiple of what any of these takes, far below what a quadratic or an endless one takes.
QUICK = 30.0


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """No case takes long."""
    started = time.process_time()
    yield
    assert time.process_time() - started < QUICK


def tensor(**changes: Any) -> bytes:
    entry = {"name": "input-0", "datatype": "FP32", "shape": [1], "data": [0.5], **changes}
    return orjson.dumps({"inputs": [entry]})


V2_REFUSED: dict[str, tuple[bytes, Any]] = {
    "10^9 elements": (tensor(shape=[10**9]), None),
    "10^18 elements of no size": (tensor(shape=[2**62, 4], data=[]), None),
    "a shape whose product has 6,000 digits": (tensor(shape=[2] * 20_000), None),
    "a shape whose product takes long": (tensor(shape=[2**63 - 1] * 200_000), None),
    "a binary shape whose product has 6,000 digits": (
        tensor(shape=[2] * 20_000, parameters={"binary_data_size": 0}).replace(b'"data":[0.5],', b""),
        "all",
    ),
    "a negative size": (tensor(parameters={"binary_data_size": -1}), "all"),
    "a size beyond the body": (tensor(parameters={"binary_data_size": 2**63}), "all"),
    "a length of 5,000 digits": (tensor(), "0" * 5000 + "2"),
    "a length that is negative": (tensor(), "-1"),
    "nested deeper than any tensor": (b'{"inputs":' + b"[" * 100_000, None),
    "a name of a megabyte": (tensor(name="x" * 2**20, shape=[3]), None),
    "a datatype of a megabyte": (tensor(datatype="x" * 2**20), None),
    "an unpaired surrogate": (b'{"inputs":[{"name":"\\ud800","datatype":"FP32","shape":[1],"data":[1]}]}', None),
    "NaN as a bare word": (b'{"inputs":[{"name":"a","datatype":"FP32","shape":[1],"data":[NaN]}]}', None),
    "an integer beyond 64 bits": (
        b'{"inputs":[{"name":"a","datatype":"INT64","shape":[1],"data":[%d]}]}' % 2**70,
        None,
    ),
}


@pytest.mark.parametrize(("body", "length"), V2_REFUSED.values(), ids=V2_REFUSED.keys())
def test_wrapper_refuses(body: bytes, length: Any) -> None:
    header_length = str(len(body)) if length == "all" else length
    assert declared(lambda: v2.decode_request(body, header_length, "mnist", None, False, {})) is None


#: Valid for the wrapper, which flattens it.
TOO_DEEP = tensor(data=7).replace(b"7", b"[" * 900 + b"7" + b"]" * 900), None


@pytest.mark.parametrize(("body", "length"), [*V2_REFUSED.values(), TOO_DEEP], ids=[*V2_REFUSED, "nested 900 deep"])
def test_worker_refuses(body: bytes, length: Any) -> None:
    header_length = str(len(body)) if length == "all" else length
    headers = JSON if header_length is None else {**RAW, "Inference-Header-Content-Length": header_length}
    assert answered(body, headers).status == 400


def test_grpc_shape_whose_product_has_thousands_of_digits() -> None:
    message = MESSAGES.ModelInferRequest(model_name="m")
    message.inputs.add(name="a", datatype="FP32").shape.extend([2**60] * 100_000)
    message.raw_input_contents.append(b"")
    with pytest.raises(InvalidRequest):
        oip_grpc.decode_request(message, {})


def rows(*instances: Any, **beside: Any) -> bytes:
    return json.dumps({"instances": instances, **beside}).encode()


def number(text: str) -> bytes:
    return b'{"instances":[{"data":[[%b]]}]}' % text.encode()


WORKER_REFUSED: dict[str, bytes] = {
    "one long text among many short ones": rows({"data": [["x" * 5_000_000], *[["y"]] * 2000]}),
    "lists that are ragged": rows([[1.0] * 28] * 27 + [[1.0]]),
    "lists nested 900 deep": b'{"instances":[' + b"[" * 900 + b"1" + b"]" * 900 + b"]}",
    "a target of 5,000 digits": rows({"data": "AAAA", "target": "9" * 5000}, parameters={"target": "9" * 5000}),
    "a number of 5,000 digits": number("9" * 5000),
    "a number beyond doubles": number("1e999"),
    "a method that is a list": rows("AAAA", parameters={"method": ["x"]}),
    "a method that is an object": rows("AAAA", parameters={"method": {"x": 1}}),
    "steps beyond doubles": rows("AAAA", parameters={"n_steps": 10**400}),
    "top_k that is infinite": rows("AAAA", parameters={"top_k": "Infinity"}),
    "a key of a megabyte": rows({"data": "AAAA", "k" * 2**20: 1}),
    "a thousand unknown parameters": rows("AAAA", parameters={f"k{n}": n for n in range(1000)}),
    "base64 of nothing": rows({"b64": ""}),
    "a million empty rows": b'{"instances":[' + b",".join([b"[]"] * 300_000) + b"]}",
    "one row that is null": rows(None),
}


@pytest.mark.parametrize("explain", ["False", "True"])
@pytest.mark.parametrize("body", WORKER_REFUSED.values(), ids=WORKER_REFUSED.keys())
def test_worker_refuses_rows(body: bytes, explain: str) -> None:
    assert answered(body, {**JSON, "explain": explain}).status == 400


@pytest.mark.parametrize("body", WORKER_REFUSED.values(), ids=WORKER_REFUSED.keys())
def test_wrapper_takes_or_refuses_rows(body: bytes) -> None:
    """What is a valid V1 body is for the handler to judge."""
    declared(lambda: v1.decode_request(body, "mnist", False, {}))


def png_of(width: int, height: int, data: bytes) -> bytes:
    """A PNG whose header says what it likes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def tiff_bomb() -> bytes:
    target = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(target, "TIFF", compression="group4")
    return target.getvalue()


def text_bomb() -> bytes:
    """A PNG whose compressed text is a hundred megabytes."""
    image = png_of(28, 28, b"\0" * 29 * 28)
    content = b"Comment\0\0" + zlib.compress(b"x" * 100_000_000, 9)
    chunk = struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(">I", zlib.crc32(b"zTXt" + content))
    return image[:33] + chunk + image[33:]


BOMBS = {
    "a header of 4 gigapixels": png_of(65_535, 65_535, b""),
    "a header of 2^62 pixels": png_of(2**31 - 1, 2**31 - 1, b""),
    "no pixels": png_of(0, 0, b""),
    "a gigapixel of one colour": tiff_bomb(),
    "too little data": png_of(28, 28, b"\0" * 5),
}


@pytest.mark.parametrize("image", BOMBS.values(), ids=BOMBS.keys())
def test_worker_refuses_images(image: bytes) -> None:
    got = answered(rows({"data": base64.b64encode(image).decode()}), JSON)
    assert got.status == 400, got.body
    assert "row 0" in got.json()["error"]


def test_compressed_text_in_an_image_is_not_unpacked() -> None:
    assert answered(rows({"data": base64.b64encode(text_bomb()).decode()}), JSON).status in (200, 400)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"models":' * 50_000])
def test_files_nested_too_deeply(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested|JSON"):
        snapshot.parse(text, 120)
    with pytest.raises(ValueError, match="JSON"):
        tokens.parse(text.encode())
