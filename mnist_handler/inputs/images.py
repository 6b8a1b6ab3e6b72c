"""Encoded images (PNG, JPEG, GIF, BMP, TIFF, WebP) to uint8 arrays, all by Pillow.

The file says in a few bytes how large it is: sides and pixels are checked before anything is decoded, what is not
pixels is dropped (``containers.py``), and what is decoded is cut to what the row shows before it is converted and
resized, so that work and memory are bounded by the pixels of the image and of the row. Colour profiles are not applied.
A decoder may be called from several threads at once.
"""

from __future__ import annotations

import io
import struct
import threading
import zlib
from typing import Any, Optional, Tuple, cast

import numpy as np
from PIL import Image

from mnist_handler.config import DEFAULT_IMAGE_PIXELS
from mnist_handler.inputs.containers import ContainerError, lean, png_chunks
from mnist_handler.inputs.decoding import PixelBudget
from mnist_handler.inputs.placement import Box, Placement, cut, place, resized, upright

#: Pillow's names of the formats, by how their files begin.
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
#: JPEG's and GIF's own limit. Pillow keeps a pointer and a filter for each line, whatever its length.
MAX_SIDE = 65_535
_IHDR = struct.Struct(">IIBBBBB")
_PNG_COLOUR = {1: 0, 3: 2}  # channels -> PNG colour type


class ImageError(ValueError):
    """These bytes are not an image that can be used; the message says why."""


def image_format(data: bytes) -> Optional[str]:
    """The format that the bytes begin like, by Pillow's name, or None."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((name for beginning, name in _BEGINNINGS if data.startswith(beginning)), None)


class ImageDecoder:
    """Turns encoded images into uint8 arrays of shape [channels, height, width].

    Args:
        shape: of the result; 1 channel is greyscale, 3 are RGB.
        resize: length of the shorter side before the centre is cropped; None squashes to ``shape``.
        background: 0..255, what shows through transparent pixels.
        max_pixels: refuse larger images, or None.
        orient: whether to turn images as their Exif says.
        reducing_gap: decode a JPEG at a half, a quarter or an eighth of its size (in its cosine transform) where that
            is still so many times as large as the row needs; 0 = never.
    """

    def __init__(
        self,
        shape: Tuple[int, int, int],
        resize: Optional[int],
        background: int,
        max_pixels: Optional[int],
        orient: bool = True,
        reducing_gap: float = 0.0,
    ) -> None:
        self.shape = shape
        self.mode = {1: "L", 3: "RGB"}[shape[0]]
        self._resize = resize
        self._background = background
        self._max_pixels = max_pixels
        self._orient = orient
        self._gap = reducing_gap
        self._budget = PixelBudget(DEFAULT_IMAGE_PIXELS if max_pixels is None else max_pixels)
        self._plain_header = (shape[2], shape[1], 8, _PNG_COLOUR[shape[0]], 0, 0, 0)
        Image.init()
        self._formats = tuple(name for name in FORMATS if name in Image.OPEN)

    def __call__(self, data: bytes, out: np.ndarray[Any, Any]) -> None:
        """Decode ``data`` into ``out``, a writable uint8 array of ``shape``.

        Raises:
            ImageError: unknown format, truncated, damaged, or too many pixels.
        """
        if not data:
            raise ImageError("no bytes")
        kind = image_format(data)
        if kind not in self._formats:
            raise ImageError(f"of no known format ({', '.join(self._formats)})")
        try:
            image = self._plain_png(data) if kind == "PNG" and self._resize is None else None
            pixels = np.asarray(self._decode(kind, data) if image is None else image)
        except (ImageError, MemoryError):
            raise
        except ContainerError as error:
            raise ImageError(str(error)) from error
        except Exception as error:
            raise ImageError(f"damaged or truncated {kind} image") from error
        out[...] = pixels[None] if self.mode == "L" else pixels.transpose(2, 0, 1)

    def _plain_png(self, data: bytes) -> Optional[Image.Image]:
        """A PNG of the row's own size and mode, the usual case for small models, in half of the time; else None.

        Pillow's decoder of PNG's pixels runs without Pillow's reader of PNG files around it.
        """
        if _IHDR.unpack_from(data, 16) != self._plain_header:
            return None
        parts = []
        for name, start, end in png_chunks(data):
            if name in (b"IHDR", b"IDAT"):
                if zlib.crc32(data[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
                    return None  # Pillow's reader judges
                parts.append(data[start:end])
            elif name != b"IEND":
                return None  # a transparent colour, an orientation, or nothing that matters
        return Image.frombytes(self.mode, (self.shape[2], self.shape[1]), b"".join(parts[1:]), "zip", self.mode, 0)

    def _decode(self, kind: str, data: bytes) -> Image.Image:
        file = lean(kind, data)
        with self._budget.lease() as room, _PIXEL_LIMIT:
            if file.size is not None:
                self._check_size(*file.size)
                room.take(file.size[0] * file.size[1])
            image = Image.open(io.BytesIO(file.data), formats=(kind,))
            self._check_size(*image.size)
            room.take(image.width * image.height)
            return self._row(image, file.orientation if self._orient else 1)

    def _row(self, image: Image.Image, orientation: int) -> Image.Image:
        """An image that is open, not yet decoded, as the row's picture."""
        _, height, width = self.shape
        to = self._reduce(image, place(image.size, (width, height), self._resize, orientation))
        _check_tiles(image)
        image.load()
        part, to = cut(image, to)
        picture = upright(resized(self._flatten(part), to), orientation)
        if picture.size == (width, height):
            return picture
        row = Image.new(self.mode, (width, height))
        row.paste(picture, to.offset)
        return row

    def _reduce(self, image: Image.Image, to: Placement) -> Placement:
        """Have a JPEG decoded at a part of its size, if that is allowed and large enough; where the pixels are then."""
        if not self._gap or image.format != "JPEG":
            return to
        left, top, right, bottom = to.box
        shrinks = min((right - left) / to.size[0], (bottom - top) / to.size[1])
        scale = next((one for one in (8, 4, 2) if shrinks >= one * self._gap), 1)
        stored = image.size
        if scale == 1 or image.draft(None, (stored[0] // scale, stored[1] // scale)) is None:
            return to
        # The last pixel stands for fewer than ``scale`` where the side is no multiple of it.
        limits = (image.width, image.height, image.width, image.height)
        return to._replace(box=cast(Box, tuple(min(edge / scale, limit) for edge, limit in zip(to.box, limits))))

    def _check_size(self, width: int, height: int) -> None:
        if width < 1 or height < 1:
            raise ImageError(f"an image of {width} x {height} pixels")
        if self._max_pixels is not None and width * height > self._max_pixels:
            raise ImageError(
                f"{width} x {height} pixels are more than the {self._max_pixels} that max_image_pixels allows"
            )
        if max(width, height) > MAX_SIDE:
            raise ImageError(f"{width} x {height} pixels: a side has at most {MAX_SIDE}")

    def _flatten(self, image: Image.Image) -> Image.Image:
        """One layer of ``self.mode``: transparency over the background, 16 bits to 8."""
        if image.mode == self.mode and "transparency" not in image.info:
            return image
        if image.mode.startswith(("I", "F")):
            return _eight_bits(image).convert(self.mode)
        if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
            picture = image.convert("RGBA")
            image = Image.new("RGB", picture.size, (self._background,) * 3)
            image.paste(picture, mask=picture.getchannel("A"))
        return image.convert(self.mode)


def _check_tiles(image: Image.Image) -> None:
    """Refuse a file, a TIFF say, whose parts would be decoded over each other again and again."""
    area = sum((right - left) * (bottom - top) for _, (left, top, right, bottom), *_ in getattr(image, "tile", ()))
    if area > 8 * image.width * image.height:
        raise ImageError(f"damaged {image.format} image: its parts cover it many times")


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ImageError(f"pixels of mode {image.mode} outside 0..65535; send 8 or 16 bits a channel")
    return Image.fromarray((values // 257).astype(np.uint8))


class _PixelLimit:
    """Pillow's limit is one for the whole process and only warns at first; ours is per decoder: it is off inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limit: Optional[int] = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                Image.MAX_IMAGE_PIXELS = self._limit


_PIXEL_LIMIT = _PixelLimit()
