"""A worker's requests, from the bytes that it gets to the bytes that it gives, timed one after another."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import torch

from benchmarks.gpu.models import instances
from benchmarks.stats import percentile
from benchmarks.worker.loading import Batch, load_folder, loaded_handler, parsed, request_of

#: Calls before the measured ones.
WARM = 2
#: Calls at the least, and of a slow case at the most.
LEAST, MOST = 5, 20_000


class WrongAnswer(RuntimeError):
    """The worker did not answer a request as it should."""


class Served:
    """A folder loaded as TorchServe's worker loads it, with its handler in sight."""

    def __init__(self, folder: Path, device: str) -> None:
        begin = time.perf_counter()
        self.service = load_folder(folder, gpu=0 if device == "cuda" else None)
        self.load_seconds = time.perf_counter() - begin
        self.handler = loaded_handler()
        self.ours = hasattr(self.handler, "answer")
        self.device = device
        if torch.device(self.handler.device).type != device:
            raise RuntimeError(f"the handler runs on {self.handler.device}, not on {device}")

    def answer(self, batch: Batch, wanted: bytes = b'"predictions"') -> bytes:
        """The bytes that go back to TorchServe, JSON parsed where the worker parses it.

        Raises:
            WrongAnswer: an error, or an answer without ``wanted``.
        """
        reply = bytes(self.service.predict(parsed(batch)))
        (code,) = struct.unpack_from("!i", reply)
        if code != 200 or wanted not in reply:
            raise WrongAnswer(f"{code}: {reply[4:400]!r}")
        return reply

    def scores(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores of rows as the model takes them, on the CPU."""
        rows = rows.to(self.handler.device)
        with torch.inference_mode():
            found = self.handler.inference([rows]).scores if self.ours else self.handler.inference(rows)
        scores: torch.Tensor = found.float().cpu()
        return scores

    def distance(self, reference: Path) -> float:
        """How far scores are from those of float32 on the CPU: the greatest difference over the greatest score."""
        known = torch.load(reference, weights_only=True)
        return float((self.scores(known["rows"]) - known["scores"]).abs().max() / known["scores"].abs().max())

    def inference(self, rows: torch.Tensor, seconds: float) -> float:
        """Milliseconds of the handler's inference alone, rows on the device beforehand; waits for the device."""
        rows = rows.to(self.handler.device)
        data = [rows] if self.ours else rows

        def call() -> None:
            with torch.inference_mode():
                self.handler.inference(data)
            self.synchronize()

        return median(_times(call, seconds)) * 1e3

    def synchronize(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def float32(self) -> str:
        """What float32 stands for on this device now."""
        if self.device != "cuda":
            return "float32"
        products = torch.get_float32_matmul_precision() != "highest"
        convolutions = torch.backends.cudnn.allow_tf32
        names = {(True, True): "TF32", (False, False): "float32", (True, False): "TF32 in products alone"}
        return names.get((products, convolutions), "TF32 in convolutions alone")


def _times(call: Callable[[], Any], seconds: float) -> List[float]:
    for _ in range(WARM):
        call()
    times: List[float] = []
    end = time.perf_counter() + seconds
    while len(times) < LEAST or (time.perf_counter() < end and len(times) < MOST):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return times


def timed(
    served: Served, model: str, batches: Sequence[int], seconds: float, rows_of: Callable[[int], torch.Tensor]
) -> Iterator[Dict[str, Any]]:
    """Milliseconds a request by its rows: p50, p95, p99 of all, and the model's part."""
    for batch in batches:
        request = _fresh(request_of(instances(model, batch), served.ours))
        times = _times(lambda request=request: served.answer(request()), seconds)  # type: ignore[misc]
        yield {"batch": batch, **figures(times, batch), "inference_ms": served.inference(rows_of(batch), seconds / 2)}


def explained(served: Served, model: str, batches: Sequence[int], seconds: float) -> Iterator[Dict[str, Any]]:
    """Milliseconds of an explain request (integrated gradients, 15 steps) by its rows."""
    for batch in batches:
        request = _fresh(request_of(instances(model, batch), served.ours, explain=True))
        times = _times(lambda request=request: served.answer(request(), b'"explanations"'), seconds)  # type: ignore[misc]
        yield {"batch": batch, **figures(times, batch)}


def _fresh(batch: Batch) -> Callable[[], Batch]:
    """Makes the request anew for each call, since a body that was parsed is no longer bytes."""
    (one,) = batch
    (body,) = one["parameters"]
    return lambda: [{**one, "parameters": [dict(body)]}]


def figures(times: Sequence[float], rows: int) -> Dict[str, float]:
    p50, p95, p99 = (percentile(times, percent) * 1e3 for percent in (50, 95, 99))
    return {"calls": len(times), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "rows_per_second": rows / p50 * 1e3}


def memory(device: str) -> Tuple[float, float]:
    """MiB on the GPU: the most that torch held since its start, and what the process keeps now (0, 0 on a CPU)."""
    if device != "cuda":
        return 0.0, 0.0
    return torch.cuda.max_memory_reserved() / 2**20, torch.cuda.memory_reserved() / 2**20
