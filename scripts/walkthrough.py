"""The document's requests and their right answers: what `make demo` shows and what the serving tests check."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Tuple

ROOT = Path(__file__).resolve().parent.parent
REQUESTS = Path("tests/data/requests")


class WrongAnswer(Exception):
    """An answer differs from the documented one."""


@dataclass(frozen=True)
class Step:
    """One request of the document: where it goes, the file it sends, and what its answer must be."""

    title: str
    path: str
    body: str
    check: Callable[[Any], None]

    def curl(self, base: str) -> str:
        """The line that a person types for this request, run from the repository's root."""
        return f"curl {base}{self.path} -d @{REQUESTS / self.body}"


def expect(wanted: Any, got: Any, what: str) -> None:
    """Raise `WrongAnswer` unless both are equal."""
    if wanted != got:
        raise WrongAnswer(f"{what}: expected {wanted!r}, got {got!r}")


def exactly(wanted: Any) -> Callable[[Any], None]:
    """A check that the whole answer is ``wanted``."""
    return lambda answer: expect(wanted, answer, "the answer")


def heat_map(answer: Any) -> Any:
    """The first row's attributions, [28][28], out of a V1 or V2 explanation."""
    if "explanations" in answer:
        return answer["explanations"][0][0]
    flat = answer["outputs"][0]["data"]
    return [flat[start : start + 28] for start in range(0, 784, 28)]


def check_heat_map(rows: Any) -> None:
    """28 rows of 28 finite numbers that are not all alike."""
    expect((28, {28}), (len(rows), {len(row) for row in rows}), "the attributions' shape")
    values = [value for row in rows for value in row]
    if not all(isinstance(value, float) and abs(value) < 1e6 for value in values):
        raise WrongAnswer("an attribution is not a finite number")
    if max(values) <= 0 or len({round(value, 9) for value in values}) < 50:
        raise WrongAnswer("the attributions say nothing about the digit")


def check_v1_explanation(answer: Any) -> None:
    """``{"explanations": [n][1][28][28]}`` and nothing else."""
    expect(["explanations"], list(answer), "the keys")
    expect((1, 1), (len(answer["explanations"]), len(answer["explanations"][0])), "rows and channels")
    check_heat_map(heat_map(answer))


def check_v2_explanation(request: Any) -> Callable[[Any], None]:
    """The V2 form: one FP32 output ``explain`` of shape [1, 1, 28, 28], with the request's id."""

    def check(answer: Any) -> None:
        head = {key: answer.get(key) for key in ("id", "model_name", "model_version")}
        expect({"id": request["id"], "model_name": "mnist", "model_version": "1.0"}, head, "the head")
        output = answer["outputs"][0]
        form = {key: output.get(key) for key in ("name", "shape", "datatype")}
        expect({"name": "explain", "shape": [1, 1, 28, 28], "datatype": "FP32"}, form, "the output")
        expect(784, len(output["data"]), "the number of attributions")
        check_heat_map(heat_map(answer))

    return check


def predicted(answer: Any) -> Tuple[int, float]:
    """The first row's class and its probability, out of a V1 or V2 answer to a request for ``probabilities``."""
    if "predictions" in answer:
        row = answer["predictions"][0]
        return int(row["predict"]), float(row["probabilities"][row["predict"]])
    outputs = {one["name"]: one["data"] for one in answer["outputs"]}
    return int(outputs["predict"][0]), float(outputs["probabilities"][outputs["predict"][0]])


def v2_prediction(request: Any) -> Any:
    """The document's V2 answer. Both its samples are the same picture of a zero, as bytes and as a tensor.

    The document shows 1 for the tensor, because the stock handler does not normalise tensors.
    """
    output = {"name": "predict", "shape": [1], "datatype": "INT64", "data": [0]}
    return {"id": request["id"], "model_name": "mnist", "model_version": "1.0", "outputs": [output]}


def load(name: str) -> Any:
    """A sample request."""
    return json.loads((ROOT / REQUESTS / name).read_bytes())


def steps() -> list[Step]:
    """The document's walk-through, in its order, then the explanations."""
    v1, as_bytes, as_tensor = "v1_mnist.json", "mnist_v2_bytes.json", "mnist_v2_tensor.json"
    infer, explain = "/v2/models/mnist/infer", "/v2/models/mnist/explain"
    return [
        Step("V1 predict", "/v1/models/mnist:predict", v1, exactly({"predictions": [2]})),
        Step("V2 infer, bytes", infer, as_bytes, exactly(v2_prediction(load(as_bytes)))),
        Step("V2 infer, tensor", infer, as_tensor, exactly(v2_prediction(load(as_tensor)))),
        Step("V1 explain", "/v1/models/mnist:explain", v1, check_v1_explanation),
        Step("V2 explain, bytes", explain, as_bytes, check_v2_explanation(load(as_bytes))),
        Step("V2 explain, tensor", explain, as_tensor, check_v2_explanation(load(as_tensor))),
    ]


def post(base: str, step: Step) -> Any:
    """Send one step as curl would, with curl's default content type, and return the parsed answer.

    Raises:
        WrongAnswer: the status is not 200.
    """
    request = urllib.request.Request(base + step.path, data=(ROOT / REQUESTS / step.body).read_bytes())
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            raise WrongAnswer(f"status {error.code}: {error.read().decode(errors='replace')}") from error
