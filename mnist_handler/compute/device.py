"""Which device a worker runs on, with how many threads, and whether it still can."""

from __future__ import annotations

import logging
import os
from typing import Any, Optional

import torch

logger = logging.getLogger(__name__)


def pick_device(gpu_id: Optional[Any]) -> torch.device:
    """The GPU that TorchServe gave this worker, or the CPU where it gave none or there is none."""
    if gpu_id is not None and int(gpu_id) >= 0 and torch.cuda.is_available():
        device = torch.device("cuda", int(gpu_id))
        torch.cuda.set_device(device)
        return device
    return torch.device("cpu")


def end_if_lost(device: torch.device) -> None:
    """End the worker where nothing can run on the device any more; to be called once something failed there.

    After some errors, such as an index beyond an embedding, every CUDA call of the process fails until its end.
    TorchServe starts another worker then.

    Raises:
        SystemExit: the CUDA context is lost.
    """
    if device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
    except Exception as error:
        logger.critical("the CUDA context is lost; this worker ends", exc_info=error)
        raise SystemExit(1) from error


def set_threads(wanted: int) -> int:
    """Set the threads inside one operator; 0 chooses. Returns what holds now.

    Half of the processors by default: TorchServe's Java process and the wrapper need the others, and an operator
    whose thread waits for a processor stalls for tens of milliseconds. ``OMP_NUM_THREADS`` is left alone.
    """
    if wanted == 0 and os.environ.get("OMP_NUM_THREADS"):
        return torch.get_num_threads()
    torch.set_num_threads(wanted or max(1, _processors() // 2))
    return torch.get_num_threads()


def leaves_processors(device: torch.device) -> bool:
    """Whether operators on this device leave at least as many processors to this worker as their threads take."""
    return device.type == "cpu" and 2 * torch.get_num_threads() <= _processors()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
