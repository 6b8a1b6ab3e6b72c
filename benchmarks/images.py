"""The images that the load sends: digits drawn with Pillow's own font, the same on every machine."""

from __future__ import annotations

import io
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


def pixels(png: bytes) -> np.ndarray:
    """uint8 [28, 28] of a PNG file."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("L"), dtype=np.uint8)
