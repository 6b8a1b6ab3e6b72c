"""What convert.py makes, decoded again, is the image that went in."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, List, Optional

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

grey = arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)))
colour = arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)))


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """An image file of uint8 pixels, [height, width] or [height, width, 3]."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def run(root: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(root / "model-archiver" / "convert.py"), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


@given(images=st.lists(st.binary(), min_size=1, max_size=5), target=st.none() | st.integers(0, 9))
def test_v1_holds_the_files(convert: ModuleType, images: List[bytes], target: Optional[int]) -> None:
    instances = json.loads(json.dumps(convert.to_v1(images, target)))["instances"]
    assert [base64.b64decode(one["data"], validate=True) for one in instances] == images
    assert [one.get("target") for one in instances] == [target] * len(images)


@given(images=st.lists(st.binary(), min_size=1, max_size=5))
def test_v2_bytes_holds_the_files(convert: ModuleType, images: List[bytes]) -> None:
    (tensor,) = json.loads(json.dumps(convert.to_v2_bytes(images)))["inputs"]
    assert (tensor["datatype"], tensor["shape"]) == ("BYTES", [len(images)])
    assert [base64.b64decode(text, validate=True) for text in tensor["data"]] == images


@given(pixels=grey | colour)
def test_v2_tensor_holds_the_pixels(convert: ModuleType, pixels: np.ndarray) -> None:
    mode = "L" if pixels.ndim == 2 else "RGB"
    request = convert.to_v2_tensor([encode(pixels)] * 2, (pixels.shape[1], pixels.shape[0]), mode)
    (tensor,) = json.loads(json.dumps(request))["inputs"]
    values = np.asarray(tensor["data"])
    assert tensor["datatype"] == "FP32"
    assert tuple(tensor["shape"]) == values.shape == (2, 1 if mode == "L" else 3, *pixels.shape[:2])
    back = np.rint(values * 255).astype(np.uint8).transpose(0, 2, 3, 1).reshape(2, *pixels.shape)
    np.testing.assert_array_equal(back, [pixels, pixels])


@given(pixels=grey | colour)
def test_any_image_becomes_a_digits_tensor(convert: ModuleType, pixels: np.ndarray) -> None:
    values = np.asarray(convert.to_v2_tensor([encode(pixels, "BMP")])["inputs"][0]["data"])
    assert values.shape == (1, 1, 28, 28)
    assert 0 <= values.min() <= values.max() <= 1


@pytest.mark.parametrize(
    ("image", "mode", "expected"),
    [
        (Image.new("RGBA", (28, 28), (255, 0, 0, 0)), "L", 0.0),
        (Image.new("RGBA", (28, 28), (255, 0, 0, 0)), "RGB", 1.0),
        (Image.new("LA", (28, 28), (51, 255)), "L", 0.2),
        (Image.fromarray(np.full((28, 28), 257 * 51, np.uint16)), "L", 0.2),
        (Image.new("1", (28, 28), 1), "L", 1.0),
    ],
    ids=["clear on black", "clear on white", "grey and alpha", "16 bits", "1 bit"],
)
def test_modes(convert: ModuleType, image: Image.Image, mode: str, expected: float) -> None:
    file = io.BytesIO()
    image.save(file, "PNG")
    values = np.asarray(convert.to_v2_tensor([file.getvalue()], mode=mode)["inputs"][0]["data"])
    assert (values == expected).all()


@pytest.mark.parametrize("form", ["v1", "v2-bytes", "v2-tensor"])
def test_command(root: Path, tmp_path: Path, form: str) -> None:
    images = [encode(np.full((28, 28), level, np.uint8)) for level in (0, 51, 255)]
    for name, image in zip("ab", images):
        (tmp_path / name).write_bytes(image)
    done = run(root, form, str(tmp_path / "a"), str(tmp_path / "b"), "-", stdin=images[2])
    assert (done.returncode, done.stderr) == (0, b"")
    request: Any = json.loads(done.stdout)
    if form == "v1":
        assert [base64.b64decode(one["data"]) for one in request["instances"]] == images
    elif form == "v2-bytes":
        assert [base64.b64decode(text) for text in request["inputs"][0]["data"]] == images
    else:
        assert [row[0][27][27] for row in request["inputs"][0]["data"]] == [0.0, 0.2, 1.0]


def test_stdin_and_options(root: Path) -> None:
    image = encode(np.zeros((5, 9, 3), np.uint8))
    assert json.loads(run(root, "v1", "--target", "0", stdin=image).stdout)["instances"][0]["target"] == 0
    done = run(root, "v2-tensor", "--size", "9x5", "--mode", "RGB", stdin=image)
    assert json.loads(done.stdout)["inputs"][0]["shape"] == [1, 3, 5, 9]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"hello", b"not an image"), (b"", b"empty"), (encode(np.zeros((64, 64), np.uint8))[:60], b"damaged")],
)
def test_no_image(root: Path, tmp_path: Path, content: bytes, reason: bytes) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(encode(np.zeros((2, 2), np.uint8)))
    bad.write_bytes(content)
    done = run(root, "v1", str(good), str(bad))
    assert (done.returncode, done.stdout) == (1, b"")
    assert str(bad).encode() in done.stderr
    assert reason in done.stderr
    assert b"Traceback" not in done.stderr


def test_bad_arguments(root: Path, tmp_path: Path) -> None:
    missing = run(root, "v1", str(tmp_path / "missing.png"))
    assert missing.returncode == 1
    assert b"missing.png: No such file" in missing.stderr
    for arguments in (["v1", "-", "-"], ["v2-tensor", "--size", "0x5"], ["v2-bytes", "--target", "1"], []):
        assert run(root, *arguments).returncode == 2
    assert b"v2-tensor" in run(root, "--help").stdout
