"""Times of device work: by CUDA events on a GPU, by the clock on a CPU."""

from __future__ import annotations

import time
from statistics import median
from typing import Any, Callable, List, Tuple

import torch


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(call: Callable[[], Any], device: torch.device, seconds: float, least: int = 5) -> Tuple[float, float]:
    """(wall, device) microseconds of a call, medians over ``seconds`` of calls after three unmeasured ones.

    Wall time runs until the device has finished. Device time is from CUDA events around the call: what the GPU's
    stream took, transfers included; on a CPU the two are one.
    """
    for _ in range(3):
        call()
    synchronize(device)
    walls: List[float] = []
    devices: List[float] = []
    end = time.perf_counter() + seconds
    while len(walls) < least or time.perf_counter() < end:
        wall, on_device = _once(call, device)
        walls.append(wall)
        devices.append(on_device)
    return median(walls), median(devices)


def _once(call: Callable[[], Any], device: torch.device) -> Tuple[float, float]:
    if device.type != "cuda":
        start = time.perf_counter()
        call()
        wall = (time.perf_counter() - start) * 1e6
        return wall, wall
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start = time.perf_counter()
    begin.record()
    call()
    end.record()
    end.synchronize()
    return (time.perf_counter() - start) * 1e6, begin.elapsed_time(end) * 1e3
