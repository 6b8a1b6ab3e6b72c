"""How CUDA graphs are captured. No CUDA here: stand-ins for streams and graphs note what they are asked."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Iterator, List

import pytest
import torch

from mnist_handler.compute.compiled import CudaGraphs
from mnist_handler.compute.engine import Engine
from mnist_handler.config import ConfigError
from tests.unit.mnist_handler.conftest import start


class Stream:
    def wait_stream(self, other: Any) -> None:
        pass


class Graph:
    def pool(self) -> str:
        return "pool"

    def replay(self) -> None:
        pass


class Device:
    """What ``torch.cuda`` is asked for; during a capture no tensor's value can be read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.streams: List[Stream] = []
        self.used: List[Any] = []
        self.capturing = False
        main = Stream()
        for name, value in {
            "Stream": self._stream,
            "current_stream": lambda: main,
            "stream": self._use,
            "CUDAGraph": Graph,
            "graph": self._capture,
        }.items():
            monkeypatch.setattr(f"torch.cuda.{name}", value)

    def read(self) -> None:
        if self.capturing:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with …")

    def _stream(self) -> Stream:
        self.streams.append(Stream())
        return self.streams[-1]

    @contextlib.contextmanager
    def _use(self, stream: Stream) -> Iterator[None]:
        self.used.append(stream)
        yield

    @contextlib.contextmanager
    def _capture(self, graph: Graph, pool: Any, stream: Stream) -> Iterator[None]:
        self.used.append(stream)
        self.capturing = True
        try:
            yield
        except Exception:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture") from None
        finally:
            self.capturing = False


def test_all_sizes_share_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch)
    graphs = CudaGraphs(torch.nn.Identity())
    for rows in (1, 2, 2, 4):
        graphs(torch.zeros(rows, 3))
    assert len(device.streams) == 1
    assert device.used == device.streams * 6  # a warm-up and a capture for each of three sizes


class Double(torch.nn.Module):
    """Keeps what it was called with: the graph's own memory."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.held = rows
        self.tried = torch.backends.cudnn.benchmark
        return rows * 2


def test_a_graph_pads_and_casts_by_copying(monkeypatch: pytest.MonkeyPatch) -> None:
    Device(monkeypatch)
    model = Double()
    graphs = CudaGraphs(model, torch.bfloat16)
    scores = graphs.padded([torch.ones(3, 2)], 4)
    assert (scores.shape, scores.dtype) == ((3, 2), torch.float32)
    assert (model.held.dtype, model.held.tolist()) == (torch.bfloat16, [[1, 1]] * 3 + [[0, 0]])
    graphs.padded([torch.full((1, 2), 5.0)], 4)
    assert model.held.tolist() == [[5, 5]] + [[0, 0]] * 3  # nothing of the rows before
    graphs.padded([torch.zeros(4, 2, dtype=torch.int64)], 4)
    assert model.held.dtype == torch.int64


def test_images_lie_as_convolutions_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    Device(monkeypatch)
    model = Double()
    CudaGraphs(model)(torch.ones(2, 3, 4, 4))
    assert model.held.is_contiguous(memory_format=torch.channels_last)


def test_kernels_are_tried_for_graphs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    Device(monkeypatch)
    model = Double()
    CudaGraphs(model)(torch.ones(1, 2))
    assert model.tried
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_graphs_are_of_the_folded_model(precision: str, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captured: List[Any] = []

    def compile_model(model: torch.nn.Module, mode: str, *_: Any) -> List[Any]:
        if mode == "cuda_graph":
            captured.append(model)
        return [model]

    monkeypatch.setattr("mnist_handler.compute.runtime.choose_mode", lambda *_: "cuda_graph")
    monkeypatch.setattr("mnist_handler.compute.runtime.compile_model", compile_model)
    start(archive, {"max_batch_size": 1, "precision": precision})
    assert [isinstance(one, torch.fx.GraphModule) for one in captured] == [True]


def test_what_cannot_be_captured_ends_the_load(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch)
    after: List[int] = []

    class Branches(torch.nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            after.append(len(rows))
            device.read()
            return rows

    graphs = CudaGraphs(Branches())

    def compile_model(model: torch.nn.Module, mode: str, *_: Any) -> List[Any]:
        return [graphs] if mode == "cuda_graph" else [model]

    monkeypatch.setattr("mnist_handler.compute.runtime.choose_mode", lambda *_: "cuda_graph")
    monkeypatch.setattr("mnist_handler.compute.runtime.compile_model", compile_model)
    monkeypatch.setattr(Engine, "run", lambda *_: pytest.fail("the model ran after a broken capture"))
    words = (
        r"cuda_graph cannot capture this model \(CUDA error: operation not permitted .* capturing\); set compile: none"
    )
    with pytest.raises(ConfigError, match=words):
        start(archive, {"max_batch_size": 1})
    assert after == [1] * 4
