"""The handler alone in TorchServe, batchSize 8: every request of a mixed batch gets its own right answer."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from tests.serving.mixed import probes, send, send_at_once, v1_predict, v2_binary, v2_bytes
from tests.serving.torchserve_alone import Alone, torchserve_alone


@pytest.fixture(scope="module", params=["kserve", "kservev2", None, "body"], ids=lambda name: f"envelope-{name}")
def alone(request: pytest.FixtureRequest, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    with torchserve_alone(store, tmp_path_factory.mktemp("ts") / "run", request.param, batch_size=8) as running:
        yield running


def test_64_concurrent_mixed_requests_are_all_right(alone: Alone) -> None:
    assert send_at_once(alone.base, list(probes(64, seed=8))) == []


@pytest.mark.parametrize("make", [v1_predict, v2_bytes, v2_binary], ids=lambda make: make.__name__)
def test_one_request(alone: Alone, make: object) -> None:
    probe = make([3, 141, 59])  # type: ignore[operator]
    probe.check(*send(alone.base, probe))


def test_raw_body_unparsed_by_torchserve(store: Path, tmp_path: Path) -> None:
    extra = {"decode_input_request": "false"}
    with torchserve_alone(store, tmp_path / "run", "kserve", batch_size=8, extra=extra) as running:
        assert send_at_once(running.base, list(probes(32, seed=9))) == []
