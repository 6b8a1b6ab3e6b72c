"""The images that the load sends, drawn by code: digits in Pillow's own font, and photographs."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import List

import numpy as np
from PIL import Image, ImageDraw, ImageFont

#: Distinct images in a run; requests take them in turn.
DISTINCT = 32


def draw_digit(index: int, side: int = 28) -> Image.Image:
    """Digit ``index % 10``, white on black like MNIST's, moved a little by ``index``; mode L, ``side`` pixels."""
    canvas = Image.new("L", (28, 28), 0)
    font = ImageFont.load_default(size=22)
    offset = (7 + index // 10 % 3, 1 + index // 30 % 3)
    ImageDraw.Draw(canvas).text(offset, str(index % 10), fill=255, font=font)
    return canvas if side == 28 else canvas.resize((side, side), Image.Resampling.BILINEAR)


def digit_png(index: int, side: int = 28) -> bytes:
    """The drawn digit, as the bytes of a PNG file."""
    buffer = io.BytesIO()
    draw_digit(index, side).save(buffer, "PNG")
    return buffer.getvalue()


def pngs(count: int, first: int = 0, side: int = 28) -> List[bytes]:
    """``count`` PNG files in turn from the run's distinct images."""
    return [digit_png((first + index) % DISTINCT, side) for index in range(count)]


@lru_cache(maxsize=128)
def photograph(index: int, width: int = 1152, height: int = 864) -> bytes:
    """A JPEG of quality 90: soft light, waves of several lengths and a little noise, as a camera's picture has."""
    source = np.random.default_rng(index)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width, y / height
    layers = []
    for _ in range(3):
        light = 128 + 60 * np.sin(2 * np.pi * (x * source.uniform(0.3, 2) + y * source.uniform(0.3, 2)))
        waves = 20 * np.sin(2 * np.pi * source.uniform(10, 40) * (x + source.uniform(-1, 1) * y * y))
        layers.append(light + waves + source.normal(0, 6, (height, width)))
    pixels = np.stack(layers, axis=-1).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def pixels(png: bytes) -> np.ndarray:
    """uint8 [28, 28] of a PNG file."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("L"), dtype=np.uint8)
