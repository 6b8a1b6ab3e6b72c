"""Pixels come from where a whole resize and a crop would take them, upright, in whatever order they are made."""

from __future__ import annotations

import io
from typing import Optional, Tuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from mnist_handler.inputs.images import ImageDecoder
from mnist_handler.inputs.placement import cut, place, resized
from tests.unit.mnist_handler.inputs.test_images import saved

SIDES = st.integers(1, 300)
SMALL = st.integers(1, 40)


def picture(size: Tuple[int, int]) -> Image.Image:
    """Smooth waves, so that a misplaced pixel is seen and rounding is not."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return Image.fromarray((127 + 60 * np.sin(x / 9) + 60 * np.cos(y / 7 + x / 31)).astype(np.uint8))


def whole_then_crop(image: Image.Image, row: Tuple[int, int], resize: Optional[int]) -> Image.Image:
    if resize is None:
        return image.resize(row, Image.Resampling.BILINEAR)
    short = min(image.size)
    wide, high = (resize if side == short else int(resize * side / short) for side in image.size)
    left, top = round((wide - row[0]) / 2), round((high - row[1]) / 2)
    resized = image.resize((wide, high), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + row[0], top + row[1]))


@given(st.tuples(SIDES, SIDES), st.tuples(SMALL, SMALL), st.one_of(st.none(), st.integers(1, 60)))
def test_straight_into_the_crop(size: Tuple[int, int], row: Tuple[int, int], resize: Optional[int]) -> None:
    image = picture(size)
    part, to = cut(image, place(size, row, resize, 1))
    made = Image.new("L", row)
    made.paste(resized(part, to), to.offset)
    apart = np.abs(np.asarray(made, np.int16) - np.asarray(whole_then_crop(image, row, resize), np.int16))
    assert apart.max() <= 2  # each of two passes rounds


@given(st.tuples(SIDES, SIDES), st.integers(1, 8), st.one_of(st.none(), st.integers(8, 60)))
def test_upright_as_pillow_turns_it(size: Tuple[int, int], orientation: int, resize: Optional[int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = ImageOps.exif_transpose(Image.open(_file(saved(picture(size), "PNG", exif=exif))))
    assert turned is not None
    one = ImageDecoder((1, 12, 20), resize, 0, None)
    got, wanted = np.zeros(one.shape, np.uint8), np.zeros(one.shape, np.uint8)
    one(saved(picture(size), "PNG", exif=exif), got)
    one(saved(Image.fromarray(np.asarray(turned)), "PNG"), wanted)
    # Which pass comes first depends on how the image is stored, and each rounds.
    assert np.abs(got.astype(np.int16) - wanted.astype(np.int16)).max() <= 2


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orient", [True, False])
def test_every_format_tells_its_orientation(form: str, orient: bool) -> None:
    """A phone's picture, held upright: left half black as stored, top half black as seen."""
    stored = Image.new("RGB", (40, 40), "white")
    stored.paste("black", (0, 0, 20, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    one = ImageDecoder((3, 40, 40), None, 255, None, orient)
    out = np.zeros(one.shape, np.uint8)
    one(saved(stored, form, exif=exif.tobytes()), out)
    dark = out.mean(axis=0) < 128
    assert dark[5, 5]
    assert bool(dark[5, 35]) is orient
    assert bool(dark[35, 5]) is not orient


def test_tall_and_narrow_goes_by_its_height_first() -> None:
    image = picture((1, 60_000))
    made = resized(image, place(image.size, (300, 300), None, 1))
    wanted = image.resize((1, 300), Image.Resampling.BILINEAR).resize((300, 300), Image.Resampling.BILINEAR)
    assert np.array_equal(np.asarray(made), np.asarray(wanted))


def _file(data: bytes) -> io.BytesIO:
    return io.BytesIO(data)
