"""Images side by side: the rows and faults of one after the other, and no more memory than one may take."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, List, Optional

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.images import photograph
from mnist_handler.inputs.decoding import DecodingPool, PixelBudget
from mnist_handler.inputs.images import ImageDecoder, ImageError

SHAPE = (3, 64, 64)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def rows(decoder: ImageDecoder, files: List[bytes], threads: int) -> Any:
    out = np.zeros((len(files), *decoder.shape), np.uint8)

    def one(data: bytes, row: Any) -> Optional[str]:
        try:
            decoder(data, row)
        except ImageError as error:
            return str(error)
        return None

    return out, list(DecodingPool(threads).map(one, files, out))


@given(st.lists(st.sampled_from(["good", "large", "cut", "nothing", "small"]), min_size=2, max_size=8), st.data())
@settings(max_examples=25)
def test_threads_change_nothing(kinds: List[str], data: st.DataObject) -> None:
    """Also where the budget lets one image through at a time."""
    made = {"good": photograph(1, 200, 160), "large": photograph(2, 320, 300), "nothing": bytes(9000)}
    made.update(cut=made["good"][:6000], small=photograph(3, 90, 70))
    files = [made[kind] for kind in kinds]
    decoder = ImageDecoder(SHAPE, 80, 255, data.draw(st.sampled_from([200 * 160, 10**6])))
    alone, faults = rows(decoder, files, 1)
    beside, others = rows(decoder, files, 4)
    assert np.array_equal(alone, beside)
    assert faults == others
    for kind, fault in zip(kinds, faults):
        assert (fault is None) == (kind in ("good", "small") or (kind == "large" and decoder._max_pixels == 10**6))


def test_no_more_pixels_are_under_way_than_one_image_may_have() -> None:
    budget, lock = PixelBudget(100), threading.Lock()
    under_way: List[int] = [0]
    most: List[int] = []

    def one(pixels: int) -> None:
        with budget.lease() as room:
            room.take(pixels)
            room.take(pixels)  # once is enough
            with lock:
                under_way[0] += min(pixels, 100)
                most.append(under_way[0])
            time.sleep(0.002)
            with lock:
                under_way[0] -= min(pixels, 100)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, [40, 60, 100, 500, 10, 30, 90, 50] * 4))
    assert max(most) <= 100
    assert max(most) > 60  # they do go side by side
    assert budget._free == 100


def test_pillows_own_limit_is_back_after_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 777)
    decoder = ImageDecoder(SHAPE, 80, 255, 10**6)
    _, faults = rows(decoder, [photograph(1, 200, 160)] * 12, 6)
    assert faults == [None] * 12  # each of more pixels than Pillow's limit warns of
    assert Image.MAX_IMAGE_PIXELS == 777


def _pictures() -> List[bytes]:
    source = np.random.default_rng(0)
    noise = Image.fromarray(source.integers(0, 256, (600, 900, 3), dtype=np.uint8))
    lines = Image.fromarray((np.mgrid[0:600, 0:900].sum(0) // 7 % 2 * 255).astype(np.uint8))
    tilted = jpeg(lines.convert("RGB"), exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
    return [photograph(1, 900, 600), photograph(2, 601, 1203), jpeg(noise), jpeg(lines), tilted]


@pytest.mark.parametrize(("gap", "short", "mean"), [(1.5, 50, 5.0), (2.0, 75, 3.0), (4.0, 75, 1.0)])
def test_reduced_scale_stays_within_what_the_documentation_says(gap: float, short: int, mean: float) -> None:
    """The sides are such that what is decoded is just so many times as large as the row needs."""
    whole, reduced = ImageDecoder(SHAPE, short, 255, 10**7), ImageDecoder(SHAPE, short, 255, 10**7, reducing_gap=gap)
    files = _pictures()
    wanted, got = rows(whole, files, 1)[0].astype(int), rows(reduced, files, 1)[0].astype(int)
    off = np.abs(wanted - got).mean((1, 2, 3))
    assert (off <= mean).all(), off
    assert (off[:2] < 0.7).all(), off  # soft pictures
    assert (off > 0).all(), "nothing was reduced"


def test_what_is_hardly_larger_than_the_row_is_decoded_in_full() -> None:
    files = [photograph(4, 110, 90)]
    wanted = rows(ImageDecoder(SHAPE, 70, 255, None), files, 1)[0]
    assert np.array_equal(rows(ImageDecoder(SHAPE, 70, 255, None, reducing_gap=2.0), files, 1)[0], wanted)
