"""Client mistakes: a 4xx that says what and where, never a 500, never TorchServe's inside; and serving goes on."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from scripts.walkthrough import load

if TYPE_CHECKING:
    from tests.serving.servers import Served

IMAGE = load("v1_mnist.json")["instances"][0]["data"]
NOT_AN_IMAGE = base64.b64encode(b"not an image at all").decode()
PREDICT = "/v1/models/mnist:predict"
INFER = "/v2/models/mnist/infer"


def v2(datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"inputs": [{"name": "input-0", "datatype": datatype, "shape": shape, "data": data}]}


CASES: dict[str, tuple[str, Any, int, str]] = {
    "not an image": (PREDICT, {"instances": [{"data": IMAGE}, {"data": NOT_AN_IMAGE}]}, 400, "row 1"),
    "not base64": (PREDICT, {"instances": [{"data": "%%%"}]}, 400, "row 0"),
    "broken JSON": (PREDICT, b'{"instances": [', 400, "JSON"),
    "empty body": (PREDICT, b"", 400, "JSON"),
    "missing instances": (PREDICT, {"rows": [1]}, 400, "instances"),
    "instances not a list": (PREDICT, {"instances": 3}, 400, "instances"),
    "unknown model": ("/v1/models/nobody:predict", {"instances": [{"data": IMAGE}]}, 404, "nobody"),
    "wrong tensor shape": (PREDICT, {"instances": [[[0.0, 1.0]]]}, 400, "row 0"),
    "V2 not an image": (INFER, v2("BYTES", [2], [IMAGE, NOT_AN_IMAGE]), 400, "row 1"),
    "V2 shape and data disagree": (INFER, v2("FP32", [1, 28, 28], [0.5]), 400, "input-0"),
    "V2 wrong shape": (INFER, v2("FP32", [1, 5], [0.0] * 5), 400, "28"),
    "V2 floats beyond 0 to 1": (INFER, v2("FP32", [1, 28, 28], [200.0] * 784), 400, "row 0"),
    "V2 missing inputs": (INFER, {"id": "x"}, 400, "inputs"),
    "V2 unknown datatype": (INFER, v2("FP99", [1], [0]), 400, "FP99"),
    "V2 unknown model": ("/v2/models/nobody/infer", v2("BYTES", [1], [IMAGE]), 404, "nobody"),
    "V2 broken JSON": (INFER, b"{", 400, "JSON"),
    "explain with a target that is no class": (
        "/v1/models/mnist:explain",
        {"instances": [{"data": IMAGE, "target": 10}]},
        400,
        "target",
    ),
}


@pytest.mark.parametrize(("path", "body", "status", "word"), CASES.values(), ids=CASES.keys())
def test_clear_error_and_serving_goes_on(served: Served, path: str, body: Any, status: int, word: str) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    got, answer = served.exchange(path, raw)
    assert got == status, answer
    assert set(answer) <= {"error", "rows"}
    assert word in answer["error"]
    for inside in ("Traceback", "127.0.0.1", "org.pytorch", "Exception", "/tmp"):
        assert inside not in json.dumps(answer)
    assert served.post(PREDICT, {"instances": [{"data": IMAGE}]}) == {"predictions": [2]}
