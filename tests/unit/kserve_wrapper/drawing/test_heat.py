"""The heat map over a picture: which part is coloured, how, and what stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kserve_wrapper.drawing import heat


def grey(width: int, height: int) -> Image.Image:
    return Image.new("L", (width, height), 100)


def hue(picture: Image.Image, across: int, down: int) -> str:
    pixel: Any = picture.convert("RGB").getpixel((across, down))
    red, _, blue = pixel
    return "red" if red > blue + 20 else "blue" if blue > red + 20 else "grey"


def test_red_is_for_blue_against_and_what_says_nothing_shows_the_picture() -> None:
    drawn = heat.overlay(grey(3, 1), np.array([[1.0, -1.0, 0.05]]))
    assert [hue(drawn, across, 0) for across in range(3)] == ["red", "blue", "grey"]


@pytest.mark.parametrize(
    ("size", "shape", "resize", "box"),
    [
        ((400, 300), (224, 224), 0, (0, 0, 400, 300)),
        ((256, 256), (224, 224), 256, (16, 16, 240, 240)),
        ((512, 256), (224, 224), 256, (144, 16, 368, 240)),
    ],
)
def test_the_map_lies_over_what_the_model_sees(
    size: tuple[int, int], shape: tuple[int, int], resize: int, box: tuple[float, ...]
) -> None:
    assert heat.crop_box(size, shape, resize) == box
    drawn = heat.overlay(grey(*size), np.ones(shape), resize)
    left, top = int(box[0]), int(box[1])
    assert hue(drawn, left, top) == "red"
    if left:
        assert hue(drawn, left - 1, top) == "grey"


@given(
    size=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    shape=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    resize=st.sampled_from([0, 64, 100]),
    seed=st.integers(0, 9),
)
@settings(max_examples=25, deadline=None)
def test_any_picture_is_drawn(size: tuple[int, int], shape: tuple[int, int], resize: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(3, *shape))
    drawn = heat.figure(grey(*size), values, heat.Caption("a cat", "a cat, 99.0%", "saliency"), resize)
    assert drawn.mode == "RGB"
    assert max(drawn.size) < 1000


@pytest.mark.parametrize("values", [np.zeros((4, 4)), np.full((4, 4), 1e-30)])
def test_nothing_to_say_is_no_division_by_zero(values: np.ndarray[Any, Any]) -> None:
    assert heat.figure(grey(4, 4), values, heat.Caption("a 1", "a 1")).size[0] > 0
    assert heat.strongest(values) > 0


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="no picture's"):
        heat.flatten(np.zeros(3))


def test_the_colour_bar_stands_beside_both_pictures() -> None:
    drawn = heat.figure(grey(10, 10), np.linspace(-1, 1, 100).reshape(10, 10), heat.Caption("a 1", "a 1, 50.0%"))
    colours = {hue(drawn, drawn.width - 120, row) for row in range(60, drawn.height - 60)}
    assert {"red", "blue"} <= colours
