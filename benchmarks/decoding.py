"""Milliseconds that the handler takes to decode a photograph, by size, format, rows of a batch, threads and scale."""

from __future__ import annotations

import argparse
import io
import sys
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np
from PIL import Image

from benchmarks import machine
from benchmarks.images import photograph
from benchmarks.output import add_output, write_result
from benchmarks.stats import interleaved
from mnist_handler.inputs.decoding import DecodingPool
from mnist_handler.inputs.images import ImageDecoder, ImageError

#: Width and height of what is sent; what the network takes, and the shorter side that it is cropped from.
SIZES = ((224, 224), (1152, 864), (4000, 3000))
FORMATS = ("JPEG", "PNG", "WEBP")
SHAPE, SHORT = (3, 224, 224), 256


class Way(NamedTuple):
    """How a batch is decoded."""

    threads: int
    #: ``jpeg_reducing_gap``; 0 decodes in full.
    gap: float


def files(size: Sequence[int], fmt: str, count: int) -> List[bytes]:
    """So many encoded photographs, two different ones in turn."""
    made = [photograph(index, *size) for index in range(min(2, count))]
    if fmt != "JPEG":
        made = [_encoded(file, fmt) for file in made]
    return [made[index % len(made)] for index in range(count)]


def _encoded(jpeg: bytes, fmt: str) -> bytes:
    file = io.BytesIO()
    with Image.open(io.BytesIO(jpeg)) as image:
        image.save(file, fmt, **({"quality": 90} if fmt == "WEBP" else {}))
    return file.getvalue()


def decode(encoded: Sequence[bytes], way: Way) -> np.ndarray[Any, Any]:
    """uint8 [rows, 3, 224, 224], as the handler makes it. Raises ImageError."""
    decoder = ImageDecoder(SHAPE, SHORT, 255, None, reducing_gap=way.gap)
    rows = np.zeros((len(encoded), *SHAPE), np.uint8)

    def one(data: bytes, row: np.ndarray[Any, Any]) -> Optional[str]:
        try:
            decoder(data, row)
        except ImageError as error:
            return str(error)
        return None

    faults = [fault for fault in DecodingPool(way.threads).map(one, encoded, rows) if fault is not None]
    if faults:
        raise ImageError(faults[0])
    return rows


def timed(given: argparse.Namespace) -> Iterator[Dict[str, Any]]:
    for size in SIZES:
        for fmt in FORMATS:
            gaps = (0.0, 1.5, 2.0) if fmt == "JPEG" else (0.0,)
            ways = [Way(threads, gap) for threads in given.threads for gap in gaps]
            for rows in given.rows:
                encoded = files(size, fmt, rows)
                usual = decode(encoded, ways[0]).astype(int)
                off = {way: float(np.abs(decode(encoded, way) - usual).mean()) for way in ways}
                for number in range(given.rounds):
                    for way in interleaved(ways, number):
                        begin = time.perf_counter()
                        decode(encoded, way)
                        spent = (time.perf_counter() - begin) * 1e3 / rows
                        described = {"width": size[0], "height": size[1], "format": fmt, "rows": rows}
                        yield {**described, "round": number, **way._asdict(), "ms": spent, "off": off[way]}
                print(f"{fmt} {size[0]}x{size[1]}, {rows} rows", file=sys.stderr, flush=True)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks decoding", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8], help="images of a batch (default: 1 8)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads (default: 1 2)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each (default: 5)")
    add_output(parser)
    given = parser.parse_args(arguments)
    described = machine.describe()
    write_result({"kind": "decoding", "machine": described, "entries": list(timed(given))}, given)
    return 0
