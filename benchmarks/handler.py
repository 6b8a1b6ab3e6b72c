"""Preprocess, inference and postprocess per image beside the stock handler's, taking turns in one run."""

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
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 64], help="batch sizes (default: 1 8 64)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each batch size (default: 5)")
    parser.add_argument("--seconds", type=float, default=1, help="seconds of calls a round (default: 1)")
    add_output(parser)
    given = parser.parse_args(arguments)
    write_result(run(given), given)
    return 0
