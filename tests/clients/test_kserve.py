"""KServe's own SDK clients, REST and gRPC, through the wrapper to real TorchServe."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.samples import ROOT, predicted
from tests.serving.servers import Served


@pytest.fixture(scope="module")
def kserve(served: Served) -> Any:
    command = [sys.executable, "-m", "tests.clients.kserve_client", served.base, served.grpc]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout)


def test_kserve_health(kserve: Any) -> None:
    asked = [key for key in kserve if "live" in key or "ready" in key]
    assert len(asked) == 8
    assert all(kserve[key] for key in asked)


def test_kserve_v1(kserve: Any) -> None:
    assert kserve["v1 predict"] == {"predictions": predicted()[:2]}
    assert kserve["v1 explain"] == 2


@pytest.mark.parametrize(
    ("case", "identifier", "rows"),
    [("v2 json", "a", 3), ("v2 binary", "b", 3), ("v2 bytes", "c", 2), ("grpc typed", "d", 3), ("grpc raw", "e", 3)],
)
def test_kserve_v2(kserve: Any, case: str, identifier: str, rows: int) -> None:
    assert kserve[case] == {"id": identifier, "outputs": {"predict": predicted()[:rows]}}
