"""How peers are set up, tuned and chosen; no peer runs here."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, ClassVar, Dict, List

import pytest

from benchmarks.cases import Case
from benchmarks.check import expected
from benchmarks.images import pngs
from benchmarks.reports.serving import report
from benchmarks.servers import tuned
from benchmarks.servers.base import labels
from benchmarks.servers.choice import PEER_NAMES, PEERS, choose
from benchmarks.servers.peers import MODEL, Peer
from benchmarks.servers.tuned import Tuned

ROOT = Path(__file__).resolve().parents[3]


class Fake(Peer):
    """Best without a delay on one connection, with 5 ms on 64."""

    name = "fake"
    up: ClassVar[List[float]] = []

    def launch(self, directory: Path) -> None:
        self.up.append(self.window_ms)

    def is_ready(self) -> bool:
        return True

    def forms(self) -> Dict[str, Any]:
        return {}

    def stop(self) -> None:
        if self.window_ms in self.up:
            self.up.remove(self.window_ms)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tuned:
    def measure(server: Fake, case: Case, seconds: float, place: Path) -> Any:
        assert Fake.up == [server.window_ms]  # none of the others
        rate = case.connections + server.window_ms * (10 if case.connections > 1 else -1)
        return types.SimpleNamespace(requests_per_second=rate), None

    monkeypatch.setattr(tuned, "measure", measure)
    monkeypatch.setattr(Fake, "up", [])
    made = Tuned(lambda window: Fake("frozen", window), [0, 1, 5], [64, 1])
    made.try_all(tmp_path, 0.1)
    return made


def test_the_best_delay_is_taken_for_each_number_of_connections(tried: Tuned, tmp_path: Path) -> None:
    assert Fake.up == []
    assert [tried.window(count) for count in (1, 16, 64, 128)] == [0, 5, 5, 5]
    tried.start(tmp_path)
    assert Fake.up == [0, 5]
    assert [tried.for_case(Case("base64", count)).window_ms for count in (1, 64)] == [0, 5]  # type: ignore[attr-defined]
    tried.stop()
    assert Fake.up == []


def test_what_was_tried_is_in_the_report(tried: Tuned, tmp_path: Path) -> None:
    from benchmarks import machine

    # As JSON gives it back: names are texts.
    windows = {
        "fake": {str(count): {f"{one:g}": rate for one, rate in rates.items()} for count, rates in tried.tried.items()}
    }
    result = {"kind": "serving", "machine": machine.describe(), "seconds": 1.0, "runs": [], "windows": windows}
    text = report(result, tmp_path / "serving.md")
    assert "| server | connections | 0 ms | 1 ms | 5 ms |" in text
    assert "| fake | 64 | 64.0 | 74.0 | **114** |" in text


def test_each_peer_is_there_as_it_comes_and_with_our_compute_inside() -> None:
    servers = choose(PEER_NAMES, "eager", None, [0, 1, 5], [1, 64])
    assert [server.name for server in servers] == PEER_NAMES
    assert {server.name for server in servers if not isinstance(server, Tuned)} == {"bentoml", "bentoml-same"}
    for name in PEERS:
        plain, same = (choose([one], "eager", None, [2], [1])[0] for one in (name, name + "-same"))
        assert isinstance(plain, Peer)
        assert isinstance(same, Peer)
        assert (plain.network, plain.window_ms, same.network) == ("eager", 2, "ours")
        assert str(ROOT) not in plain.environment()["PYTHONPATH"].split(":")
        assert str(ROOT) in same.environment()["PYTHONPATH"].split(":")


@pytest.mark.parametrize("kind", ["frozen", "eager", "ours"])
def test_every_network_gives_the_networks_own_digits(kind: str) -> None:
    program = """
import base64, json, sys
import network
known = network.load()
texts = json.load(sys.stdin)
images = [base64.b64decode(text) for text in texts]
from_texts = known.predict([known.decode_base64(one) for one in texts])
print(json.dumps([from_texts, known.predict([known.decode(one) for one in images])]))
"""
    paths = os.pathsep.join([str(ROOT / "benchmarks" / "peers"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "MODEL_DIRECTORY": str(MODEL), "NETWORK": kind}
    texts = json.dumps([base64.b64encode(png).decode() for png in pngs(12)])
    done = subprocess.run([sys.executable, "-c", program], input=texts, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [expected(pngs(12))] * 2


def test_tritons_images_travel_as_they_are() -> None:
    (triton,) = choose(["triton"], "frozen", None, [1], [1])
    request = triton.forms()["base64"](pngs(2))
    head = int(request.headers["Inference-Header-Content-Length"])
    body = request.body[head:]
    first = int.from_bytes(body[:4], "little")
    assert body[4 : 4 + first] == pngs(2)[0]
    assert body[8 + first :] == pngs(2)[1]
    answer = b'{"outputs":[{"parameters":{"binary_data_size":16}}]}'
    numbers = (3).to_bytes(8, "little") + (7).to_bytes(8, "little")
    assert labels({"inference-header-content-length": str(len(answer))}, answer + numbers) == [3, 7]
