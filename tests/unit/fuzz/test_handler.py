"""The worker under hostile input: each client its 200 or 4xx, the good neighbour its right answer, always."""

from __future__ import annotations

import base64
import json
from typing import Any, Optional

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import predicted
from tests.serving.mixed import png
from tests.unit.fuzz.hostile import DOCUMENTS, HEADER_LENGTHS, V1, V2, fuzz
from tests.unit.fuzz.worker import JSON, RAW, Got, ask

GOOD = json.dumps({"instances": [{"data": base64.b64encode(png(3)).decode()}]}).encode()


def answered(body: bytes, headers: dict[str, Any]) -> Got:
    """What a client gets that shares a batch with a good one, which must not notice."""
    hostile, good = ask((body, headers), (GOOD, JSON))
    assert good.json() == {"predictions": [predicted()[3]]}
    assert hostile.status < 500, (body[:300], hostile.body[:300])
    if hostile.status != 200:
        error = hostile.json()["error"]
        assert len(error) <= 1100
        assert "Traceback" not in error
    return hostile


@fuzz
@given(st.one_of(DOCUMENTS, V1, V2).map(orjson.dumps), st.sampled_from(["False", "True"]))
def test_documents(body: bytes, explain: str) -> None:
    answered(body, {**JSON, "explain": explain})


@fuzz
@given(V2.map(orjson.dumps), HEADER_LENGTHS, st.binary(max_size=40))
def test_binary_tensor_data(text: bytes, header_length: Optional[str], tail: bytes) -> None:
    length = str(len(text)) if header_length in (None, "-2") else header_length
    answered(text + tail, {**RAW, "Inference-Header-Content-Length": length})


@fuzz
@given(st.binary(max_size=100), st.sampled_from([JSON, RAW, {"body": {"content-type": "image/png"}}, {}]))
def test_bytes(body: bytes, headers: dict[str, Any]) -> None:
    answered(body, headers)


SEEDS = [png(0), png(1)]


@fuzz
@given(st.sampled_from(range(6)), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6), st.data())
def test_image_bytes(form: int, edits: list[tuple[int, int]], data: st.DataObject) -> None:
    """Images of every format with some bytes changed, or cut off."""
    image = bytearray(image_of(form))
    for position, value in edits:
        image[position % len(image)] = value
    end = data.draw(st.one_of(st.just(len(image)), st.integers(0, len(image))))
    row = base64.b64encode(bytes(image[:end])).decode()
    answered(json.dumps({"instances": [{"data": row}]}).encode(), JSON)


def image_of(form: int) -> bytes:
    import io

    from PIL import Image

    from tests.samples import images

    target = io.BytesIO()
    Image.fromarray(images()[form]).save(target, ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"][form])
    return target.getvalue()
