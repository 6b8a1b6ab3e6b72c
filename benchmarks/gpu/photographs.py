"""Ways to decode photographs: the handler's own, threads, and nvJPEG."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import torch
from PIL import Image

from benchmarks.images import photograph

SIDE = 224
#: What a photograph is resized to before its centre is cropped.
SHORT = 256


def by_pillow(data: bytes, draft: bool) -> np.ndarray[Any, Any]:
    """uint8 [3, 224, 224]: shorter side to 256, centre cropped; ``draft`` decodes at a reduced scale."""
    image = Image.open(io.BytesIO(data))
    if draft:
        image.draft("RGB", (SHORT, SHORT))
    short = min(image.size)
    wide, high = (SHORT if side == short else int(SHORT * side / short) for side in image.size)
    image = image.convert("RGB").resize((wide, high), Image.Resampling.BILINEAR)
    left, top = round((wide - SIDE) / 2), round((high - SIDE) / 2)
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE))).transpose(2, 0, 1)


def by_torchvision(encoded: Sequence[torch.Tensor], device: str) -> torch.Tensor:
    """uint8 [rows, 3, 224, 224], decoded and resized on the device: by nvJPEG on a GPU, the whole batch in one call."""
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms.v2 import functional

    pictures = decode_jpeg(list(encoded), ImageReadMode.RGB, device=device)
    return torch.stack(
        [functional.center_crop(functional.resize(one, [SHORT], antialias=True), [SIDE, SIDE]) for one in pictures]
    )


def ways(handler: Any, files: Sequence[bytes], device: str) -> Iterator[Tuple[str, Callable[[], torch.Tensor]]]:
    """(name, call) of each way to make uint8 [rows, 3, 224, 224] on the device out of the files."""
    from mnist_handler.inputs.parameters import PREDICT_KEYS, collect
    from mnist_handler.requests import InputValues, Request

    request = Request([("data", InputValues(list(files)))])

    def ours() -> torch.Tensor:
        rows = handler.decode(request.inputs, collect(request, PREDICT_KEYS))
        (pieces,) = rows.values()
        return torch.from_numpy(np.concatenate([piece.array for piece in pieces])).to(device)

    yield "the handler's own", ours
    for threads in (1, 4, 16):
        for draft in (False, True):
            pool = ThreadPoolExecutor(threads)

            def threaded(pool: ThreadPoolExecutor = pool, draft: bool = draft) -> torch.Tensor:
                return torch.from_numpy(np.stack(list(pool.map(lambda file: by_pillow(file, draft), files)))).to(device)

            yield f"Pillow, {'reduced scale, ' if draft else ''}{threads} threads", threaded
            pool.shutdown()
    encoded = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
    yield "torchvision on the CPU", lambda: by_torchvision(encoded, "cpu").to(device)
    if device != "cpu":
        yield "torchvision on the GPU (nvJPEG)", lambda: by_torchvision(encoded, device)


def timed(handler: Any, count: int, device: str, seconds: float) -> Iterator[Dict[str, Any]]:
    """Milliseconds a photograph of each way, and how far its pixels are from the handler's own, of 255."""
    files = [photograph(index) for index in range(count)]
    wanted = None
    for name, call in ways(handler, files, device):
        try:
            got = call().float()
            if device != "cpu":
                torch.cuda.synchronize()
            wanted = got if wanted is None else wanted
            figures = {"ms": _milliseconds(call, device, seconds) / count, "off": float((got - wanted).abs().mean())}
        except Exception as error:
            figures = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        yield {"way": name, "photographs": count, **figures}


def _milliseconds(call: Callable[[], Any], device: str, seconds: float) -> float:
    times: List[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return median(times) * 1e3
