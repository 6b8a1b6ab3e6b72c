"""Where the pixels of a row come from in an image of any size, and in which order to resize without excess."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from PIL import Image

#: Left, top, right, bottom.
Box = Tuple[float, float, float, float]
#: What turns a stored image upright, by Exif's orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: Pixels between the two passes of a resize that nobody minds.
_FEW = 1 << 20


class Placement(NamedTuple):
    """``box`` of the stored image becomes ``size`` pixels, which lie at ``offset`` in the row, once upright."""

    box: Box
    size: Tuple[int, int]
    offset: Tuple[int, int]


def place(stored: Tuple[int, int], row: Tuple[int, int], resize: Optional[int], orientation: int) -> Placement:
    """Where a row's pixels come from: all of the image squashed, or its centre once the shorter side is ``resize``.

    Args:
        stored: width and height of the image as it is stored.
        row: width and height of the row.
        orientation: Exif's, 1 to 8; 5 and above swap the sides.
    """
    sides = stored[::-1] if orientation >= 5 else stored
    if resize is None:
        return Placement((0, 0, *stored), row[::-1] if orientation >= 5 else row, (0, 0))
    short = min(sides)
    whole = [resize if side == short else int(resize * side / short) for side in sides]
    spans = [_span(length, wanted) for length, wanted in zip(whole, row)]
    (left, right, x), (top, bottom, y) = spans
    size = (right - left, bottom - top)
    across, down = sides[0] / whole[0], sides[1] / whole[1]
    upright = (left * across, top * down, min(right * across, sides[0]), min(bottom * down, sides[1]))
    return Placement(_stored_box(upright, sides, orientation), size[::-1] if orientation >= 5 else size, (x, y))


def _span(length: int, wanted: int) -> Tuple[int, int, int]:
    """First and last pixel of the centre of ``length`` pixels, and how many are missing before it."""
    start = round((length - wanted) / 2)
    return max(start, 0), min(start + wanted, length), max(-start, 0)


def _stored_box(box: Box, sides: Tuple[int, int], orientation: int) -> Box:
    """A box of the upright image in the image as it is stored."""
    left, top, right, bottom = box
    wide, high = sides
    if orientation in (2, 3, 6, 7):
        left, right = wide - right, wide - left
    if orientation in (3, 4, 7, 8):
        top, bottom = high - bottom, high - top
    return (top, left, bottom, right) if orientation >= 5 else (left, top, right, bottom)


def cut(image: Image.Image, to: Placement) -> Tuple[Image.Image, Placement]:
    """The part of an image that a resize reads, and where the pixels come from in it."""
    left, top, right, bottom = to.box
    # A bilinear filter reaches one pixel beyond, or one step where it shrinks.
    reach = [int(max(1.0, span / size)) + 2 for span, size in zip((right - left, bottom - top), to.size)]
    x, y = max(0, int(left) - reach[0]), max(0, int(top) - reach[1])
    window = (x, y, min(image.width, int(right) + reach[0] + 1), min(image.height, int(bottom) + reach[1] + 1))
    if window[:2] == (0, 0) and window[2:] == image.size:
        return image, to
    return image.crop(window), to._replace(box=(left - x, top - y, right - x, bottom - y))


def resized(image: Image.Image, to: Placement) -> Image.Image:
    """``to.box`` of the image in ``to.size``: bilinear and antialiased, as torchvision does it.

    Pillow brings the width into shape first. Of a tall, narrow image that makes far more pixels than either end has:
    there the height goes first.
    """
    if to.size == image.size and to.box == (0.0, 0.0, float(image.width), float(image.height)):
        return image
    left, top, right, bottom = to.box
    between = to.size[0] * (bottom - top)
    if between > _FEW and between > 4 * max(image.width * image.height, to.size[0] * to.size[1]):
        image = image.resize((image.width, to.size[1]), Image.Resampling.BILINEAR, (0, top, image.width, bottom))
        top, bottom = 0, image.height
    return image.resize(to.size, Image.Resampling.BILINEAR, (left, top, right, bottom))


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image turned as Exif's orientation wants it."""
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image
