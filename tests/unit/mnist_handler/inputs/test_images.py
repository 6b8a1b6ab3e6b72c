from __future__ import annotations

import io
from typing import Any, Optional, Tuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from mnist_handler.inputs.images import ImageDecoder, ImageError, image_format
from tests.unit.mnist_handler.helpers import png

GREY = (1, 28, 28)
COLOUR = (3, 16, 24)


def decoder(shape: Tuple[int, int, int] = GREY, background: int = 0, limit: Optional[int] = 10**6) -> ImageDecoder:
    return ImageDecoder(shape, None, background, limit)


def decode(data: bytes, one: Optional[ImageDecoder] = None) -> np.ndarray[Any, Any]:
    one = one or decoder()
    out = np.full(one.shape, 99, dtype=np.uint8)
    one(data, out)
    return out


def saved(image: Image.Image, fmt: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, fmt, **options)
    return file.getvalue()


@given(arrays(np.uint8, GREY))
def test_lossless_formats_keep_every_pixel(pixels: np.ndarray[Any, Any]) -> None:
    for fmt in ("PNG", "BMP", "TIFF", "GIF"):
        data = png(pixels, fmt)
        assert image_format(data) == fmt
        assert np.array_equal(decode(data), pixels), fmt


@given(arrays(np.uint8, COLOUR))
def test_colour_keeps_every_pixel(pixels: np.ndarray[Any, Any]) -> None:
    assert np.array_equal(decode(png(pixels), decoder(COLOUR)), pixels)


def test_the_quick_way_for_plain_pngs_is_pillows(digits: np.ndarray[Any, Any]) -> None:
    one = decoder()
    for pixels in digits[:50]:
        data = png(pixels)
        quick = one._plain_png(data)
        assert quick is not None
        assert np.array_equal(np.asarray(quick), np.asarray(Image.open(io.BytesIO(data))))


@given(st.integers(8, 10**9), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_harmless_either_way(position: int, flip: int) -> None:
    """The quick way accepts no damage that Pillow's reader of PNG files refuses."""
    data = bytearray(png(np.arange(784, dtype=np.uint8).reshape(GREY)))
    data[position % len(data)] ^= flip
    one, other = decoder(), decoder()
    other._plain_header = (0, 0, 0, 0, 0, 0, 0)
    try:
        quick = decode(bytes(data), one)
    except ImageError:
        with pytest.raises(ImageError):
            decode(bytes(data), other)
        return
    assert np.array_equal(quick, decode(bytes(data), other))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"])
def test_other_modes_and_sizes_are_converted(mode: str) -> None:
    white = Image.new("L", (50, 40), 255)
    if mode == "I;16":
        image = Image.fromarray(np.full((40, 50), 65535, dtype=np.uint16))
    else:
        image = white.convert("RGB").convert(mode) if mode in ("RGBA", "CMYK") else white.convert(mode)
    data = saved(image, "TIFF" if mode == "CMYK" else "PNG")
    assert decode(data).min() >= 254


@pytest.mark.parametrize("background", [0, 255])
def test_transparency_shows_the_background(background: int) -> None:
    clear = saved(Image.new("RGBA", (28, 28), (10, 200, 30, 0)))
    one = decoder(background=background)
    assert set(np.unique(decode(clear, one))) == {background}
    palette = Image.new("L", (28, 28), 3).convert("P")
    assert set(np.unique(decode(saved(palette, transparency=palette.getpixel((0, 0))), one))) == {background}
    grey = Image.new("L", (28, 28), 7)
    assert set(np.unique(decode(saved(grey, transparency=7), one))) == {background}


def test_of_several_frames_the_first_counts() -> None:
    frames = [Image.new("L", (28, 28), value) for value in (200, 10)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data).min() == 200


@given(st.integers(20, 400))
def test_what_is_cut_off_is_refused(lost: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, GREY, dtype=np.uint8)
    data = png(noise)
    with pytest.raises(ImageError):
        decode(data[: -16 - lost])


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode(data)


def test_large_images_are_refused_by_their_header() -> None:
    data = saved(Image.new("1", (2000, 1000)))
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(ImageError, match="2000 x 1000 pixels are more than the 1000000 that max_image_pixels allows"):
        decode(data)
    assert decode(data, decoder(limit=None)).shape == GREY
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_header_that_lies_is_refused() -> None:
    data = bytearray(png(np.zeros(GREY, dtype=np.uint8)))
    data[16:24] = (10**9).to_bytes(4, "big") * 2
    with pytest.raises(ImageError):
        decode(bytes(data), decoder(limit=None))
