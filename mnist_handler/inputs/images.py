"""Encoded images (PNG, JPEG, GIF, BMP, TIFF, WebP) to uint8 arrays.

A PNG that already has the wanted size and mode, the usual case, is decoded by libpng through torchvision; all else
goes through Pillow. Sizes are checked in the header, before anything is decoded.
"""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from typing import Any, Callable, Iterator, Optional, Tuple

import numpy as np
import torch
from PIL import Image

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*")
_IHDR = struct.Struct(">8xI4sIIBBBBB")
_PNG_COLOUR = {1: 0, 3: 2}  # channels -> PNG colour type


class ImageError(ValueError):
    """These bytes are not an image that can be used; the message says why."""


def is_image(data: bytes) -> bool:
    """Whether the bytes start as one of the known image formats does."""
    return data.startswith(_MAGIC) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


class ImageDecoder:
    """Turns encoded images into uint8 arrays of shape [channels, height, width].

    Args:
        shape: of the result; 1 channel is greyscale, 3 are RGB.
        fit: brings a Pillow image of any size to ``(width, height)``.
        background: 0..255, what shows through transparent pixels.
        max_pixels: refuse larger images, or None.
    """

    def __init__(
        self,
        shape: Tuple[int, int, int],
        fit: Callable[[Image.Image], Image.Image],
        background: int,
        max_pixels: Optional[int],
    ) -> None:
        self.shape = shape
        self.mode = {1: "L", 3: "RGB"}[shape[0]]
        self.background = background
        self.max_pixels = max_pixels
        self._fit = fit
        self._plain_header = (shape[2], shape[1], 8, _PNG_COLOUR[shape[0]])
        Image.init()
        self._formats = tuple(name for name in FORMATS if name in Image.OPEN)
        self._png = _libpng()

    def __call__(self, data: bytes, out: np.ndarray[Any, Any]) -> None:
        """Decode ``data`` into ``out``, a writable uint8 array of ``shape``.

        Raises:
            ImageError: unknown format, truncated, damaged, or too many pixels.
        """
        if self._png is not None and self._is_plain(data):
            try:
                out[...] = self._png(data)
                return
            except RuntimeError:
                pass  # Pillow says what is wrong with it
        image = self._open(data)
        try:
            pixels = np.asarray(self._fit(self._flatten(image)))
        except ImageError:
            raise
        except Exception as error:
            raise ImageError(f"damaged or truncated {image.format} image") from error
        out[...] = pixels[None] if self.mode == "L" else pixels.transpose(2, 0, 1)

    def _is_plain(self, data: bytes) -> bool:
        if len(data) < 33 or not data.startswith(_MAGIC[0]):
            return False
        _, kind, width, height, depth, colour, *_ = _IHDR.unpack_from(data)
        # A chunk of this name gives a transparent colour: for Pillow.
        return kind == b"IHDR" and (width, height, depth, colour) == self._plain_header and b"tRNS" not in data

    def _open(self, data: bytes) -> Image.Image:
        if not data:
            raise ImageError("no bytes")
        try:
            with _without_pixel_limit():
                image = Image.open(io.BytesIO(data), formats=self._formats)
        except Exception as error:
            raise ImageError(f"of no known format ({', '.join(self._formats)})") from error
        width, height = image.size
        if width < 1 or height < 1:
            raise ImageError(f"an image of {width} x {height} pixels")
        if self.max_pixels is not None and width * height > self.max_pixels:
            raise ImageError(
                f"{width} x {height} pixels are more than the {self.max_pixels} that max_image_pixels allows"
            )
        return image

    def _flatten(self, image: Image.Image) -> Image.Image:
        """One layer of ``self.mode``: the first frame, transparency over the background, 16 bits to 8."""
        if image.mode == self.mode and "transparency" not in image.info:
            return image
        if image.mode.startswith(("I", "F")):
            return _eight_bits(image).convert(self.mode)
        if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
            picture = image.convert("RGBA")
            under = Image.new("RGBA", picture.size, (self.background,) * 3 + (255,))
            image = Image.alpha_composite(under, picture).convert("RGB")
        return image.convert(self.mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ImageError(f"pixels of mode {image.mode} outside 0..65535; send 8 or 16 bits a channel")
    return Image.fromarray((values.astype(np.uint32) // 257).astype(np.uint8))


@contextlib.contextmanager
def _without_pixel_limit() -> Iterator[None]:
    """Pillow's limit is one for the whole process and only warns at first; ours is per decoder."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _libpng() -> Optional[Callable[[bytes], np.ndarray[Any, Any]]]:
    """torchvision's PNG decoder, a third of Pillow's time for small images; None where it was not built.

    The operator itself: what ``torchvision.io.decode_png`` does before it costs as much as a small image. Its
    arguments are the mode (0 = as the file has it) and a flag for 16 bits or rotation, which differs by version.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torchvision.io  # noqa: F401  (registers the operator)
        operator = torch.ops.image.decode_png.default

        def decode(data: bytes) -> np.ndarray[Any, Any]:
            encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)  # a copy: bytes are not writable
            pixels: np.ndarray[Any, Any] = operator(encoded, 0, False).numpy()
            return pixels

        sample = io.BytesIO()
        Image.new("L", (1, 1), 7).save(sample, "PNG")
        return decode if decode(sample.getvalue()).tolist() == [[[7]]] else None
    except Exception:
        return None
