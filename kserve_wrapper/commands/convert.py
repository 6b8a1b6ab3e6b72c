"""Turn images into a request's JSON body, written to stdout.

    ts-kserve convert v1 digit.png > request.json
    curl http://localhost:8080/v1/models/mnist:predict -d @request.json

    v1         {"instances": [{"data": "BASE64"}, …]}, the image files as they are
    v2-bytes   one BYTES input, shape [n], one base64 text an image, the image files as they are
    v2-tensor  one FP32 input, shape [n, channels, height, width], values 0..1 (see --size and --mode)

Several images make one request of as many rows. Without an image, or for "-", one is read from stdin.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from kserve_wrapper.trying import pictures

#: Six digits tell all 256 levels apart.
DIGITS = 6


class ConvertError(Exception):
    """An image cannot be converted; the message says which and why."""


def read_image(name: str) -> bytes:
    """The bytes of the image file ``name``, or of stdin for "-", seen to be an image.

    Raises:
        ConvertError: it cannot be read, or Pillow does not decode it.
    """
    shown = "stdin" if name == "-" else name
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise ConvertError(f"{shown}: {error.strerror}") from error
    if not content:
        raise ConvertError(f"{shown}: empty, not an image")
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ConvertError(f"{shown}: not an image that Pillow can read (PNG, JPEG, …), or a damaged one") from error
    return content


def to_text(content: bytes) -> str:
    """Base64 in ASCII."""
    return base64.b64encode(content).decode("ascii")


def to_v1(images: Sequence[bytes], target: Optional[int] = None) -> Dict[str, Any]:
    """A V1 request. ``target`` is the class that :explain explains; without it, the predicted one."""
    extra = {} if target is None else {"target": target}
    return {"instances": [{"data": to_text(content), **extra} for content in images]}


def to_v2_bytes(images: Sequence[bytes]) -> Dict[str, Any]:
    """A V2 request with one BYTES input of shape [n]."""
    data = [to_text(content) for content in images]
    return {"inputs": [{"name": "input-0", "shape": [len(data)], "datatype": "BYTES", "data": data}]}


def to_pixels(content: bytes, size: Tuple[int, int], mode: str) -> List[Any]:
    """The image as nested lists [channels][height][width] of 0..1; ``size`` is (width, height)."""
    converted = pictures.open_picture(io.BytesIO(content), mode)
    if converted.size != size:
        converted = converted.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(converted, dtype=np.float64).reshape(size[1], size[0], -1) / 255
    values: List[Any] = np.round(pixels.transpose(2, 0, 1), DIGITS).tolist()
    return values


def to_v2_tensor(images: Sequence[bytes], size: Tuple[int, int] = (28, 28), mode: str = "L") -> Dict[str, Any]:
    """A V2 request with one FP32 input of shape [n, channels, height, width]."""
    data = [to_pixels(content, size, mode) for content in images]
    shape = [len(data), 1 if mode == "L" else 3, size[1], size[0]]
    return {"inputs": [{"name": "input-0", "shape": shape, "datatype": "FP32", "data": data}]}


def parse_size(text: str) -> Tuple[int, int]:
    """``WIDTHxHEIGHT`` in pixels."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 28x28")
    return int(parts[0]), int(parts[1])


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="ts-kserve convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    forms = parser.add_subparsers(dest="form", metavar="FORM", required=True)
    v1 = forms.add_parser("v1", help="V1 JSON, base64")
    v1.add_argument("--target", type=int, help="class that :explain explains (default: the predicted one)")
    v2_bytes = forms.add_parser("v2-bytes", help="V2 JSON, BYTES")
    tensor = forms.add_parser("v2-tensor", help="V2 JSON, FP32 tensor")
    tensor.add_argument("--size", type=parse_size, default=(28, 28), metavar="WxH", help="default: 28x28")
    tensor.add_argument("--mode", choices=["L", "RGB"], default="L", help="grey or colour (default: %(default)s)")
    for form in (v1, v2_bytes, tensor):
        form.add_argument("images", nargs="*", metavar="IMAGE", help='image files; "-" or none: stdin')
    return parser


def main(arguments: Sequence[str]) -> int:
    """Entry point: 0, or 1 with the cause on stderr and nothing on stdout."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    names: List[str] = options.images or ["-"]
    if names.count("-") > 1:
        parser.error('"-" (stdin) can be read once only')
    try:
        images = [read_image(name) for name in names]
    except ConvertError as error:
        print(f"convert: {error}", file=sys.stderr)
        return 1
    if options.form == "v1":
        request = to_v1(images, options.target)
    elif options.form == "v2-bytes":
        request = to_v2_bytes(images)
    else:
        try:
            request = to_v2_tensor(images, options.size, options.mode)
        except pictures.PictureError as error:
            print(f"convert: {error}", file=sys.stderr)
            return 1
    print(json.dumps(request))
    return 0
