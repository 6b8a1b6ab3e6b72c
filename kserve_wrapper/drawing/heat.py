"""A heat map over a picture: what speaks for a class and what against it, with a legend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = Tuple[int, int, int]

#: What speaks for the class, and what against it; told apart by colour-blind people too.
FOR: Colour = (178, 24, 43)
AGAINST: Colour = (33, 102, 172)
#: An attribution below this share of the strongest says nothing: the picture shows there.
QUIET = 0.1
#: A few single pixels beyond this percentile do not leave all others pale.
_STRONGEST = 99.5
_PANEL = 300
_MARGIN, _GAP, _TEXT = 16, 24, 14
_BAR_WIDTH, _BAR_TEXT = 18, 112
_INK: Colour = (40, 40, 40)


@dataclass(frozen=True)
class Caption:
    """What stands around the two pictures.

    ``target`` is the class that was explained, ``answer`` the model's answer in words, such as ``a 2, 99.9%``.
    """

    target: str
    answer: str
    method: str = ""


def strongest(attributions: np.ndarray[Any, Any]) -> float:
    """The size at which colours are full, above 0."""
    sizes = np.abs(attributions)
    return float(np.percentile(sizes, _STRONGEST)) or float(sizes.max(initial=0)) or 1.0


def flatten(attributions: Any) -> np.ndarray[Any, Any]:
    """Attributions [channels, height, width] or [height, width] as [height, width], channels summed up."""
    values = np.asarray(attributions, dtype=float)
    if values.ndim not in (2, 3):
        raise ValueError(f"attributions of shape {list(values.shape)} are no picture's")
    return values.sum(axis=0) if values.ndim == 3 else values


def crop_box(size: Tuple[int, int], shape: Tuple[int, int], resize: int) -> Tuple[float, float, float, float]:
    """Which part of a picture of ``size`` (width, height) the model sees: (left, top, right, bottom), in pixels.

    Args:
        shape: (height, width) of what the model takes.
        resize: the length of the shorter side before the centre is cropped; 0 = the whole picture is squashed.
    """
    width, height = size
    if not resize:
        return (0.0, 0.0, float(width), float(height))
    scale = min(width, height) / resize
    seen_width, seen_height = min(width, shape[1] * scale), min(height, shape[0] * scale)
    left, top = (width - seen_width) / 2, (height - seen_height) / 2
    return (left, top, left + seen_width, top + seen_height)


def overlay(picture: Image.Image, attributions: np.ndarray[Any, Any], resize: int = 0) -> Image.Image:
    """The picture in pale grey, coloured where something is said.

    Args:
        picture: what was sent.
        attributions: [height, width].
        resize: as in `crop_box`.
    """
    pale = 170 + np.asarray(picture.convert("L"), np.float32)[..., None] * 0.3
    box = tuple(round(side) for side in crop_box(picture.size, (attributions.shape[0], attributions.shape[1]), resize))
    left, top, right, bottom = box
    size = (max(1, right - left), max(1, bottom - top))
    # The nearest, not a blend: a blend would make small numbers where there are large ones of both signs.
    spread = np.asarray(Image.fromarray(attributions.astype(np.float32)).resize(size, Image.Resampling.NEAREST))
    share = np.clip(np.abs(spread) / strongest(attributions), 0, 1)[..., None]
    share = np.where(share < QUIET, 0, 0.25 + 0.75 * share)
    colour = np.where((spread > 0)[..., None], np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    drawn = np.repeat(pale, 3, axis=2)
    under = drawn[top : top + size[1], left : left + size[0]]
    drawn[top : top + size[1], left : left + size[0]] = under * (1 - share) + colour * share
    return Image.fromarray(drawn.round().clip(0, 255).astype(np.uint8))


def figure(picture: Image.Image, attributions: Any, caption: Caption, resize: int = 0) -> Image.Image:
    """The picture, the heat map over it, a labelled colour bar, and what the colours mean.

    Args:
        attributions: [channels, height, width] or [height, width], with respect to what the model takes.
        resize: as in `crop_box`.

    Raises:
        ValueError: the attributions are not of one or two dimensions of a picture.
    """
    heat = flatten(attributions)
    sent, coloured = _fit(picture.convert("RGB")), _fit(overlay(_enlarge(picture), heat, resize))
    top = _MARGIN + 3 * _TEXT
    width = 2 * _MARGIN + sent.width + coloured.width + 2 * _GAP + _BAR_WIDTH + _BAR_TEXT
    drawn = Image.new("RGB", (width, top + sent.height + 3 * _TEXT + _MARGIN), "white")
    draw, letters = ImageDraw.Draw(drawn), font(_TEXT)
    drawn.paste(sent, (_MARGIN, top))
    draw.text((_MARGIN, _MARGIN), f"answer: {caption.answer}", _INK, letters)
    left = _MARGIN + sent.width + _GAP
    drawn.paste(coloured, (left, top))
    draw.text((left, _MARGIN), f"what speaks for {caption.target}, and what against it", _INK, letters)
    if caption.method:
        draw.text((left, _MARGIN + _TEXT + 4), f"by {caption.method.replace('_', ' ')}", (110, 110, 110), letters)
    _colour_bar(draw, (left + coloured.width + _GAP, top), sent.height, strongest(heat), caption.target)
    legend = f"red: for {caption.target}   blue: against it   grey: says nothing (below {QUIET:.0%} of the strongest)"
    draw.text((_MARGIN, top + sent.height + _TEXT), legend, _INK, letters)
    return drawn


def _colour_bar(draw: ImageDraw.ImageDraw, place: Tuple[int, int], height: int, reach: float, target: str) -> None:
    left, top = place
    for row in range(height):
        value = 1 - 2 * row / max(1, height - 1)
        draw.line([(left, top + row), (left + _BAR_WIDTH, top + row)], _blend(value))
    letters = font(_TEXT - 2)
    labels = ((0, f"+{reach:.3g}"), (height // 2, "0"), (height, f"-{reach:.3g}"))
    for down, label in labels:
        draw.text((left + _BAR_WIDTH + 6, top + min(max(0, down - 7), height - 16)), label, _INK, letters)
    draw.text((left + _BAR_WIDTH + 6, top + height // 4 - 8), f"for {target[:16]}", FOR, letters)
    draw.text((left + _BAR_WIDTH + 6, top + 3 * height // 4 - 8), f"against {target[:12]}", AGAINST, letters)


def _blend(value: float) -> Colour:
    """The colour of an attribution, -1 to 1, over white."""
    share = 0.0 if abs(value) < QUIET else 0.25 + 0.75 * abs(value)
    colour = FOR if value > 0 else AGAINST
    red, green, blue = (round(255 * (1 - share) + part * share) for part in colour)
    return red, green, blue


def css_colour(share: float) -> str:
    """The colour of an attribution, -1 to 1 of the strongest, for a page."""
    return "rgb({},{},{})".format(*_blend(max(-1.0, min(1.0, share))))


def _enlarge(picture: Image.Image) -> Image.Image:
    """At least as large as it is shown, so that the map's own pixels stay square."""
    factor = max(1, _PANEL // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _fit(picture: Image.Image) -> Image.Image:
    scale = _PANEL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def font(size: int) -> Any:
    """Pillow's own font, of ``size`` pixels where it has sizes."""
    try:
        return ImageFont.load_default(size)
    except (TypeError, OSError):
        # An older Pillow has one size.
        return ImageFont.load_default()
