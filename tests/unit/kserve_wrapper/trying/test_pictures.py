"""Pictures of every kind and size: what is sent is what the model would see of the file itself, and not too large."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kserve_wrapper.trying import asking, forms, pictures
from mnist_handler.inputs.images import ImageDecoder
from tests.unit.kserve_wrapper.trying.test_asking import PREDICTED, told
from tests.unit.kserve_wrapper.trying.test_forms import metadata

__all__ = ["told"]

PHOTO = forms.read_form(metadata(("x", "FP32", [3, 32, 32]), tensors="unit", resize="40"))
DIGIT = forms.read_form(metadata(("x", "FP32", [1, 28, 28]), tensors="unit", resize="0"))


def scene(mode: str = "RGB", size: tuple[int, int] = (90, 60)) -> Image.Image:
    """Slopes, so that turning, cropping and losing bits show."""
    across = np.linspace(0, 255, size[0], dtype=np.float32)[None, :]
    down = np.linspace(255, 0, size[1], dtype=np.float32)[:, None]
    shades = [np.broadcast_to(one, size[::-1]).astype(np.uint8) for one in (across, down, (across + down) / 2)]
    return Image.fromarray(np.stack(shades, axis=-1)).convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(scene(), "JPEG", exif=exif, quality=95)


def clear() -> Image.Image:
    image = scene("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.arange(90, dtype=np.uint8) * 2, (60, 1))))
    return image


DEEP = Image.fromarray((np.arange(90 * 60, dtype=np.uint16) * 12).reshape(60, 90))
KINDS = {
    "JPEG": saved(scene(), "JPEG"),
    "grey JPEG": saved(scene("L"), "JPEG"),
    "CMYK JPEG": saved(scene("CMYK"), "JPEG"),
    "turned": turned(6),
    "turned and mirrored": turned(5),
    "16 bits": saved(DEEP, "PNG"),
    "one bit": saved(scene("1"), "PNG"),
    "palette": saved(scene("P"), "PNG"),
    "palette with a transparent colour": saved(scene("P"), "PNG", transparency=3),
    "grey with a transparent colour": saved(scene("L"), "PNG", transparency=200),
    "alpha": saved(clear(), "PNG"),
    "grey with alpha": saved(clear().convert("LA"), "PNG"),
    "WEBP with alpha": saved(clear(), "WEBP", lossless=True),
}


def seen(form: forms.Form, file: bytes) -> np.ndarray[Any, Any]:
    """What the handler makes of it."""
    _, height, width = form.inputs[0].shape
    shape = (form.inputs[0].shape[0], height, width)
    out = np.empty(shape, np.uint8)
    ImageDecoder(shape, form.resize or None, 0 if form.mode == "L" else 255, None)(file, out)
    return out


def sent(form: forms.Form, picture: Image.Image) -> bytes:
    [tensor] = forms.image_inputs(form, forms.to_send(form, picture))
    return base64.b64decode(tensor["data"][0])


@pytest.mark.parametrize("form", [PHOTO, DIGIT], ids=["photo", "digit"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_model_sees_what_it_would_see_of_the_file(form: forms.Form, kind: str) -> None:
    picture = pictures.open_picture(io.BytesIO(KINDS[kind]), form.mode)
    assert picture.mode == form.mode
    found, wanted = seen(form, sent(form, picture)).astype(int), seen(form, KINDS[kind]).astype(int)
    assert np.ptp(wanted) > 50
    # Turning before the resize and after it round differently.
    assert np.abs(found - wanted).max() <= 2


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (8000, 6000), (9000, 400)])
@pytest.mark.parametrize("form", [PHOTO, DIGIT], ids=["photo", "digit"])
def test_large_photographs_become_small_requests_with_the_same_answer(form: forms.Form, size: tuple[int, int]) -> None:
    """12 and 48 megapixels, and a panorama."""
    picture = scene(form.mode, size)
    file = sent(form, picture)
    assert len(file) < 200_000
    small = Image.new(form.mode, (1, 1))
    assert forms.to_send(form, small) is small
    found, wanted = seen(form, file).astype(int), seen(form, saved(picture, "BMP")).astype(int)
    assert np.abs(found - wanted).max() <= 2
    assert max(pictures.shown(picture).size) <= 1024


def test_a_model_of_any_size_gets_a_megapixel() -> None:
    form = forms.read_form(metadata(("x", "UINT8", [3, -1, -1])))
    to = forms.to_send(form, scene(size=(4000, 3000)))
    assert 0.98 * pictures.LARGE < to.width * to.height <= pictures.LARGE
    assert abs(to.width / to.height - 4 / 3) < 0.01


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"no picture", "no picture that can be read"),
        (b"\x00\x00\x00\x18ftypheic", "save HEIC as JPEG"),
        (KINDS["JPEG"][:400], "damaged"),
        (saved(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF"), "8 or 16 bits"),
        (saved(Image.new("1", (12000, 8000)), "PNG"), "12000 x 8000 pixels are more than 89 million"),
        (saved(Image.new("1", (20000, 10000)), "PNG"), "more than 89 million"),
    ],
)
def test_what_cannot_be_sent_is_told(file: bytes, message: str) -> None:
    with pytest.raises(pictures.PictureError, match=message):
        pictures.open_picture(io.BytesIO(file), "RGB")


@pytest.mark.parametrize(("told", "fits"), [(200_000, True), (20_000, True), (40, False)], indirect=["told"])
def test_what_the_server_says_it_takes_is_what_it_gets(told: Any, fits: bool) -> None:
    """Noise is as large as a file can be. A server that takes next to nothing is quoted."""
    server, paths = told
    paths["/v2/models/m/infer"] = (200, json.dumps(PREDICTED).encode())
    noise = Image.fromarray(np.random.default_rng(7).integers(0, 256, (500, 500, 3), dtype=np.uint8))
    shown = asking.ask(server, PHOTO, asking.Question("m", picture=noise))
    if not fits:
        assert shown.errors == ["413: larger than the limit of 40 bytes"]
        return
    assert shown.errors == []
    assert shown.words.endswith("75.0%")
    assert "the picture sent as" in shown.time
    assert shown.curl == [f"curl {server.base}/v2/models/m/infer -d @infer.json"]
    body = json.loads(shown.files["infer.json"])
    with Image.open(io.BytesIO(base64.b64decode(body["inputs"][0]["data"][0]))) as got:
        assert f"{got.width} x {got.height} pixels" in shown.time
        assert got.width < 500
