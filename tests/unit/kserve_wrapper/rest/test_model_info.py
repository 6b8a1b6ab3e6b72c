"""Configuration and statistics over HTTP, and what is said of memory shared with clients."""

from __future__ import annotations

import pytest

from kserve_wrapper.codecs.model_info import model_config
from kserve_wrapper.core.calls import ModelMetadata, TensorMetadata
from tests.unit.kserve_wrapper.fakes import Front


@pytest.mark.parametrize("path", ["/v2/models/mnist/config", "/v2/models/mnist/versions/2.0/config"])
def test_config(path: str) -> None:
    config = Front().call("GET", path).json
    assert config["max_batch_size"] == 128
    assert config["input"] == [{"name": "input", "data_type": "TYPE_FP32", "dims": [2]}]
    assert config["output"] == [{"name": "predict", "data_type": "TYPE_INT64", "dims": [1], "reshape": {"shape": []}}]
    assert config["model_transaction_policy"] == {"decoupled": False}


def test_what_is_not_there_has_neither() -> None:
    front = Front()
    assert [front.call("GET", f"/v2/models/nobody/{what}").status for what in ("config", "stats")] == [404, 404]
    assert front.call("GET", "/v2/models/loading/config").status == 503


def test_statistics() -> None:
    front = Front()
    front.metrics.models.answered("mnist", "2.0", rows=5, requests=2, waited=0.5, seconds=0.25)
    told = front.call("GET", "/v2/models/mnist/versions/2.0/stats").json["model_stats"]
    assert [(entry["version"], entry["inference_count"], entry["execution_count"]) for entry in told] == [("2.0", 5, 1)]
    assert told[0]["inference_stats"]["queue"] == {"count": 2, "ns": 500_000_000}
    assert told[0]["batch_stats"][0]["batch_size"] == 5
    assert told[0]["last_inference"] > 1e12
    both = front.call("GET", "/v2/models/mnist/stats").json["model_stats"]
    assert [entry["inference_count"] for entry in both] == [0, 5]
    names = {entry["name"] for entry in front.call("GET", "/v2/models/stats").json["model_stats"]}
    assert names == {"loading", "mnist"}


@pytest.mark.parametrize(
    "path",
    ["/v2/systemsharedmemory/status", "/v2/cudasharedmemory/region/r/register", "/v2/cudasharedmemory/unregister"],
)
def test_shared_memory_is_refused_by_its_name(path: str) -> None:
    answer = Front().call("GET", path)
    assert answer.status == 404
    assert "shared memory is not offered" in answer.json["error"]


def test_a_datatype_that_is_none_is_told_as_none() -> None:
    odd = ModelMetadata("m", ["1"], inputs=[TensorMetadata("x", "COMPLEX64", (3, -1))])
    config = model_config(odd, 128)
    assert config["input"] == [{"name": "x", "data_type": "TYPE_INVALID", "dims": [3, -1]}]
    assert config["max_batch_size"] == 0
