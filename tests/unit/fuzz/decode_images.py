"""Decode hostile image files in a process of its own, which a crash would end; prints what became of them.

python -m tests.unit.fuzz.decode_images damaged COUNT SEED | bombs
"""

from __future__ import annotations

import json
import resource
import sys
import warnings
from collections import Counter
from typing import Any

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torchvision

    from mnist_handler.inputs.images import ImageDecoder, ImageError
from tests.unit.fuzz.image_files import BOMBS, damaged, samples

DECODERS = [
    ImageDecoder((1, 28, 28), None, 0, 10**8),
    ImageDecoder((3, 28, 28), None, 255, 10**8),
    ImageDecoder((3, 224, 224), 256, 255, 10**8, orient=False),
]


def outcome(decoder: ImageDecoder, data: bytes) -> str:
    """``decoded`` or ``refused``; whatever else is raised ends the program."""
    pixels = np.zeros(decoder.shape, dtype=np.uint8)
    try:
        decoder(data, pixels)
    except ImageError as error:
        assert 0 < len(str(error)) < 200
        return "refused"
    return "decoded"


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: list[str]) -> dict[str, Any]:
    warnings.simplefilter("ignore")  # Pillow's about damaged files
    if arguments[0] == "damaged":
        files = damaged(samples(), int(arguments[1]), int(arguments[2]))
        return dict(Counter(outcome(decoder, data) for data in files for decoder in DECODERS))
    files = {name: make() for name, make in BOMBS.items()}  # making them takes memory of its own
    start, became = peak_mb(), {}
    for name, data in files.items():
        before = peak_mb()
        became[name] = [[outcome(decoder, data) for decoder in DECODERS], round(peak_mb() - before)]
    return {"became": became, "grown_mb": round(peak_mb() - start)}


if __name__ == "__main__":
    found = main(sys.argv[1:])
    print(json.dumps({**found, "torchvision": torchvision.__version__}))
