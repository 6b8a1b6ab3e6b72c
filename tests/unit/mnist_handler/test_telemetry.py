from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from ts.metrics.metric_type_enum import MetricTypes

from mnist_handler.telemetry import STAGES, Meter, Stopwatch
from tests.unit.mnist_handler.conftest import ROOT, Metrics

DECLARED = ROOT / "config" / "metrics.yaml"


def test_totals_wait_for_the_interval_and_lose_nothing() -> None:
    metrics = Metrics()
    meter = Meter(interval=3600)
    for _ in range(5):
        meter.add(Stopwatch(), requests=2, rows=3, failed=0, metrics=metrics)
    assert metrics.seen == {"HandlerBatches": 1, "HandlerRequests": 2, "HandlerRows": 3}
    meter._due = 0
    meter.add(Stopwatch(), requests=2, rows=3, failed=1, metrics=metrics)
    assert metrics.seen["HandlerBatches"] == 6
    assert metrics.seen["HandlerRows"] == 18
    assert metrics.seen["HandlerFailedRequests"] == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # TorchServe leaves the file open
def test_torchserve_knows_every_metric() -> None:
    cache = MetricsCacheYamlImpl(config_file_path=str(DECLARED))
    cache.initialize_cache()
    cache.model_name = "mnist"
    cache.set_request_ids({0: "id"})
    known = set(cache.cache_keys())
    names = {f"Handler{stage}Time" for stage in STAGES}
    names |= {"HandlerBatches", "HandlerRequests", "HandlerRows", "HandlerFailedRequests"}
    assert {f"counter:{name}" for name in names} <= known
    for name in names:
        metric = cache.get_metric(name, MetricTypes.COUNTER)
        assert metric.dimension_names == ["ModelName", "Level"]
    watch = Stopwatch()
    for stage in STAGES:
        watch.lap(stage)
    Meter(0).add(watch, 1, 1, 1, cache)
    assert set(cache.cache_keys()) == known


def test_torchserve_keeps_its_own_metrics() -> None:
    import ts

    own = yaml.safe_load((Path(ts.__file__).parent / "configs" / "metrics.yaml").read_text())
    ours = yaml.safe_load(DECLARED.read_text())
    for kind, metrics in own["ts_metrics"].items():
        assert [m for m in metrics if m not in ours["ts_metrics"][kind]] == []
    for kind, metrics in own["model_metrics"].items():
        assert [m for m in metrics if m not in ours["model_metrics"][kind]] == []
