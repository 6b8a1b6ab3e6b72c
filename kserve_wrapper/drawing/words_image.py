"""Words coloured by what they say, as a picture."""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw

from kserve_wrapper.drawing.heat import QUIET, css_colour, font, strongest

_WIDTH, _HEIGHT, _MARGIN, _TEXT = 640, 34, 8, 16


def words_image(words: Sequence[str], attributions: Sequence[float], target: str) -> Image.Image:
    """The words in lines, each over the colour of its attribution, and below them what the colours mean.

    Args:
        words: what the model made of the text.
        attributions: a number a word.
        target: the class that was explained.
    """
    values = np.asarray(attributions, dtype=float)
    reach = strongest(values) if values.size else 1.0
    letters = font(_TEXT)
    places = _places(words, letters)
    height = (places[-1][1] if places else 0) + 2 * _HEIGHT + _MARGIN
    picture = Image.new("RGB", (_WIDTH, height), "white")
    pen = ImageDraw.Draw(picture)
    for word, value, (left, top, width) in zip(words, values, places):
        share = float(value) / reach
        pen.rectangle((left, top, left + width - 2, top + _HEIGHT - 4), fill=css_colour(share))
        pen.text((left + _MARGIN, top + 6), word, "white" if abs(share) > 0.45 else "black", letters)
    legend = f"red: for {target}   blue: against it   white: says nothing (below {QUIET:.0%} of the strongest)"
    pen.text((_MARGIN, height - _HEIGHT + 6), legend, "black", font(_TEXT - 3))
    return picture


def _places(words: Sequence[str], letters: Any) -> List[Tuple[int, int, int]]:
    """Left, top and width of each word's box."""
    places = []
    left = top = _MARGIN
    for word in words:
        width = min(_WIDTH - 2 * _MARGIN, int(letters.getlength(word)) + 2 * _MARGIN)
        if left + width > _WIDTH - _MARGIN and left > _MARGIN:
            left, top = _MARGIN, top + _HEIGHT
        places.append((left, top, width))
        left += width
    return places
