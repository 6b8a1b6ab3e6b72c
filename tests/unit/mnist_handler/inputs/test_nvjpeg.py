"""Which JPEGs a device decodes and what of them becomes of rows; on a CPU, torchvision's decoder in nvJPEG's place."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.images import photograph
from mnist_handler.config import ConfigError
from mnist_handler.inputs.images import ImageDecoder
from mnist_handler.inputs.nvjpeg import NvJpeg
from tests.unit.mnist_handler.conftest import start

SHAPE = (3, 64, 48)
# torchvision says so since 0.29, on a GPU too.
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")


def encoded(image: Image.Image, fmt: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, fmt, **options)
    return file.getvalue()


PICTURE = Image.open(io.BytesIO(photograph(1, 300, 200)))
GOOD = photograph(1, 300, 200)
SIDEWAYS = encoded(PICTURE, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
#: The header of a frame of 65535 x 65535 pixels.
HUGE = b"\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x22\0\x02\x11\x01\x03\x11\x01"
NOT_PLAIN = {
    "no bytes": None,
    "PNG": encoded(PICTURE, "PNG"),
    "four channels": encoded(PICTURE.convert("CMYK")),
    "not upright": SIDEWAYS,
    "too long": encoded(Image.new("RGB", (500, 100))),
    "too large": encoded(Image.new("RGB", (400, 300))),
    "no scan": GOOD[:300],
    "two frames": GOOD.replace(b"\xff\xc0", HUGE + b"\xff\xc0", 1),
}


def decoder(most: int = 300 * 200, orient: bool = True) -> NvJpeg:
    return NvJpeg(torch.device("cpu"), SHAPE, 70, most, orient)


def rows(files: List[Any], one: NvJpeg) -> Any:
    out = np.zeros((len(files), *SHAPE), np.uint8)
    return out, one.decode(files, out)


@pytest.mark.parametrize("kind", NOT_PLAIN)
def test_what_is_not_plain_is_left_and_the_others_are_not(kind: str) -> None:
    out, left = rows([GOOD, NOT_PLAIN[kind], GOOD], decoder())
    assert left == [1]
    assert not out[1].any()
    assert out[0].any()
    assert np.array_equal(out[0], out[2])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_rows_are_pillows_within_few_steps(mode: str, options: Any) -> None:
    file = encoded(PICTURE.convert(mode), quality=90, **options)
    out, left = rows([file], decoder())
    wanted = np.zeros(SHAPE, np.uint8)
    ImageDecoder(SHAPE, 70, 255, None)(file, wanted)
    assert left == []
    assert np.abs(out[0].astype(int) - wanted).mean() < 3


def test_a_group_that_the_decoder_refuses_is_left_as_a_whole() -> None:
    damaged = GOOD[: GOOD.index(b"\xff\xda") + 20]
    assert rows([GOOD, damaged], decoder(10**6))[1] == [0, 1]


def test_together_they_have_no_more_pixels_than_one_may_have() -> None:
    """With room for one at a time, a damaged one takes no other with it."""
    damaged = GOOD[: GOOD.index(b"\xff\xda") + 20]
    out, left = rows([GOOD, damaged, GOOD], decoder())
    assert left == [1]
    assert np.array_equal(out[0], out[2])


def test_images_are_taken_as_they_are_stored_where_orientation_is_off() -> None:
    assert rows([SIDEWAYS], decoder(orient=False))[1] == []


def test_a_crop_beyond_what_is_resized_is_pillows() -> None:
    assert rows([GOOD], NvJpeg(torch.device("cpu"), SHAPE, 60, 10**6, True))[1] == [0]


def test_whether_it_works_is_tried_at_load(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decoder().works()

    def older(encoded: Any, mode: Any, device: Any) -> None:
        raise TypeError("expected a tensor")

    monkeypatch.setattr("mnist_handler.inputs.nvjpeg.decode_jpeg", older)
    assert not decoder().works()


def test_the_setting_needs_a_gpu(archive: Path) -> None:
    with pytest.raises(ConfigError, match="nvjpeg: true needs a GPU"):
        start(archive, {"nvjpeg": True})
