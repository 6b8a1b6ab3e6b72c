"""A person's picture, of any size and kind, as a model reads it, and no larger than it must be to be sent."""

from __future__ import annotations

import math
import warnings
from typing import IO, Tuple, Union

import numpy as np
from PIL import Image, ImageOps

#: Pixels that a picture may have: what the handlers take unless they are told otherwise (max_image_pixels).
MOST = 89_478_485
_TOO_MANY = f"are more than {MOST // 10**6} million, the most that is sent: scale it down first"
#: A picture of no more pixels is sent as it is.
SMALL = 512 * 512
#: A picture that the model takes at any size is sent with no more pixels.
LARGE = 1024 * 1024
#: The longest side of what is shown, in pixels.
_SHOWN = 1024


class PictureError(ValueError):
    """No picture, a damaged one, or one that is too large; the message says which and what to do."""


def open_picture(file: Union[str, IO[bytes]], mode: str) -> Image.Image:
    """The picture in a file, upright, as one layer of 8 bits.

    Args:
        mode: ``L`` or ``RGB``, what the model takes.

    Raises:
        PictureError: see there.
        OSError: the file cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                if opened.width * opened.height > MOST:
                    raise PictureError(f"{opened.width} x {opened.height} pixels {_TOO_MANY}")
                return flatten(ImageOps.exif_transpose(opened), mode)
    except (PictureError, FileNotFoundError, PermissionError):
        raise
    except Image.DecompressionBombError:
        raise PictureError(f"the picture's pixels {_TOO_MANY}") from None
    except Exception as error:  # a damaged file makes Pillow raise many things
        raise PictureError(
            "no picture that can be read, or a damaged one: PNG, JPEG, GIF, BMP, TIFF, WEBP can (save HEIC as JPEG)"
        ) from error


def flatten(image: Image.Image, mode: str) -> Image.Image:
    """One layer of 8 bits in ``mode``, as the handlers do it: black under transparent grey, white under colour.

    Raises:
        PictureError: pixels that are neither 8 nor 16 bits.
    """
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise PictureError(f"pixels of mode {image.mode} outside 0..65535: save it with 8 or 16 bits a channel")
        image = Image.fromarray((values // 257).astype(np.uint8))
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        picture = image.convert("RGBA")
        under = Image.new("RGB", picture.size, "black" if mode == "L" else "white")
        under.paste(picture, mask=picture.getchannel("A"))
        image = under
    return image.convert(mode)


def reduced(picture: Image.Image, row: Tuple[int, int], resize: int) -> Image.Image:
    """A large picture in the size that the model gives it before it looks, by the same filter: the answer is the same.

    Args:
        row: width and height of what the model takes; below 1 where it takes any.
        resize: the length of the shorter side before the centre is cropped; 0 = the whole picture is squashed.
    """
    wide, high = picture.size
    if wide * high <= SMALL:
        return picture
    if min(row) < 1:
        return scaled(picture, math.sqrt(LARGE / (wide * high)))
    short = min(wide, high)
    to = (min(wide, row[0]), min(high, row[1]))
    if resize:
        to = (
            (wide, high)
            if short <= resize
            else (max(resize, wide * resize // short), max(resize, high * resize // short))
        )
    return picture if to == picture.size else picture.resize(to, Image.Resampling.BILINEAR)


def scaled(picture: Image.Image, factor: float) -> Image.Image:
    """Both sides multiplied by ``factor``, at least a pixel each; never enlarged."""
    factor = min(1.0, factor)
    to = (max(1, int(picture.width * factor)), max(1, int(picture.height * factor)))
    return picture if to == picture.size else picture.resize(to, Image.Resampling.BILINEAR)


def shown(picture: Image.Image) -> Image.Image:
    """As large as a page shows it; drawing over forty million pixels would take gigabytes."""
    return scaled(picture, _SHOWN / max(picture.size))
