"""Which device a worker runs on, in which float32, with how many threads, and whether it still can."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Any, Iterator, Optional

import torch

from mnist_handler.compute.cpu_share import share, usable

logger = logging.getLogger(__name__)


def pick_device(gpu_id: Optional[Any]) -> torch.device:
    """The GPU that TorchServe gave this worker, or the CPU where it gave none or there is none."""
    if gpu_id is not None and int(gpu_id) >= 0 and torch.cuda.is_available():
        device = torch.device("cuda", int(gpu_id))
        torch.cuda.set_device(device)
        return device
    return torch.device("cpu")


def set_tf32(device: torch.device, allowed: bool) -> None:
    """Say for the whole process whether float32 on the GPU may be TF32: in convolutions as in matrix products.

    torch allows it in convolutions alone, and importing TorchServe's base handler in matrix products as well: without
    a word here, the same settings would give other numbers in the worker than elsewhere. A CPU is left alone.
    """
    if device.type != "cuda":
        return
    torch.backends.cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision("high" if allowed else "highest")


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """No TF32 inside, as two equal models differ by more than that."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)


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

    Half of the processors by default, and no more than this worker's share: TorchServe's Java process and the wrapper
    need the others, and an operator whose thread waits for a processor stalls for tens of milliseconds.
    ``OMP_NUM_THREADS`` is left alone. A slow model may get more (``fit.py``).
    """
    if wanted == 0 and os.environ.get("OMP_NUM_THREADS"):
        return torch.get_num_threads()
    torch.set_num_threads(wanted or max(1, min(usable() // 2, share())))
    return torch.get_num_threads()


def leaves_processors(device: torch.device) -> bool:
    """Whether operators on this device leave at least as many processors to this worker as their threads take."""
    return device.type == "cpu" and 2 * torch.get_num_threads() <= usable()
