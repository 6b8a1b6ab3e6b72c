"""One profiler trace of requests: how much of the time the GPU idles, and how often the host waits for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.models import instances
from benchmarks.gpu.served import Served
from benchmarks.worker.loading import request_of

#: CUDA's calls that wait for the device.
WAITS = ("cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaEventSynchronize")
#: Kernels and operators shown, those of the most time.
SHOWN = 8


def traced(served: Served, model: str, batch: int, calls: int, target: Path) -> Dict[str, Any]:
    """Shares and counts over ``calls`` requests of ``batch`` rows; the trace goes to ``target``, in Chrome's format."""
    (one,) = request_of(instances(model, batch), served.ours)

    def call() -> None:
        served.answer([{**one, "parameters": [dict(one["parameters"][0])]}])

    for _ in range(3):
        call()
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if served.device == "cuda" else [])
    with profile(activities=activities) as profiler:
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        served.synchronize()
        wall = (time.perf_counter() - begin) * 1e6
    profiler.export_chrome_trace(str(target))
    events: Any = profiler.events()
    kernels = [event for event in events if event.device_type != torch.autograd.DeviceType.CPU]
    busy = covered([(event.time_range.start, event.time_range.end) for event in kernels])
    host = [event for event in events if event.device_type == torch.autograd.DeviceType.CPU]
    waits = sum(event.name in WAITS for event in host)
    copies = sum(event.name.startswith("cudaMemcpy") for event in host)
    return {
        "batch": batch,
        "calls": calls,
        "request_us": wall / calls,
        "idle": 1 - busy / wall if kernels else None,
        "kernels": len(kernels) / calls,
        "waits": waits / calls,
        "copies": copies / calls,
        "longest": _longest(kernels or host, calls),
    }


def _longest(events: Sequence[Any], calls: int) -> List[Tuple[str, float]]:
    """(name, microseconds a call) of those with the greatest sums."""
    sums: Dict[str, float] = {}
    for event in events:
        sums[event.name] = sums.get(event.name, 0.0) + event.time_range.elapsed_us()
    ordered = sorted(sums.items(), key=lambda item: -item[1])[:SHOWN]
    return [(name[:80], total / calls) for name, total in ordered]


def covered(spans: Sequence[Tuple[float, float]]) -> float:
    """The length of the union of (start, end)."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
