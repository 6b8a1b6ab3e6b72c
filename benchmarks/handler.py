"""This project's handler beside a stock one of the same kind, taking turns in one run.

For mnist preprocess, inference and postprocess per image; for minilm texts of unequal lengths, a second, through
envelope and handler.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from benchmarks import machine
from benchmarks.output import add_output, write_result
from benchmarks.servers import archives
from benchmarks.stats import interleaved
from benchmarks.worker.process import Worker


def workers(directory: Path) -> Dict[str, Worker]:
    """Both handlers, each in a process of its own, loaded as TorchServe's worker loads them."""
    return {
        "ours": Worker(archives.ours(directory / "ours"), directory / "ours-worker"),
        "stock": Worker(archives.stock(directory / "stock"), directory / "stock-worker"),
    }


def run_texts(given: argparse.Namespace) -> Dict[str, Any]:
    """Texts a second, of unequal lengths, through envelope and handler."""
    entries: List[Dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        packed = archives.minilm(Path(place), given.random_weights)
        loaded: Dict[str, Worker] = {}
        try:
            for name, path in packed.items():
                loaded[name] = Worker(path, path.parent / "worker")
            for rows in given.rows:
                for number in range(given.rounds):
                    for name in interleaved(list(loaded), number):
                        figures = loaded[name].ask(do="texts", rows=rows, seconds=given.seconds)
                        entries.append({"handler": name, "rows": rows, "round": number, **figures})
                        print(f"batch {rows}: {name}: {figures['rows_per_second']:.0f} texts/s", file=sys.stderr)
        finally:
            for worker in loaded.values():
                worker.stop()
    return {"kind": "handler", "model": "minilm", "machine": machine.describe(), "entries": entries}


def run(given: argparse.Namespace) -> Dict[str, Any]:
    entries: List[Dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        both = workers(Path(place))
        try:
            for rows in given.rows:
                for number in range(given.rounds):
                    for name in interleaved(list(both), number):
                        stages = both[name].ask(do="stages", rows=rows, seconds=given.seconds)
                        entries.append({"handler": name, "rows": rows, "round": number, **stages})
                        total = sum(stages.values())
                        print(f"batch {rows}: {name}: {total:.0f} us an image", file=sys.stderr, flush=True)
        finally:
            for worker in both.values():
                worker.stop()
    return {"kind": "handler", "machine": machine.describe(), "entries": entries}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks handler", description=__doc__)
    parser.add_argument("--model", choices=("mnist", "minilm"), default="mnist", help="(default: mnist)")
    parser.add_argument("--random-weights", action="store_true", help="minilm without a download")
    parser.add_argument("--rows", type=int, nargs="+", help="batch sizes (default: 1 8 64; minilm: 1 8 32)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each batch size (default: 5)")
    parser.add_argument("--seconds", type=float, default=1, help="seconds of calls a round (default: 1)")
    add_output(parser)
    given = parser.parse_args(arguments)
    given.rows = given.rows or ([1, 8, 64] if given.model == "mnist" else [1, 8, 32])
    write_result(run(given) if given.model == "mnist" else run_texts(given), given)
    return 0
