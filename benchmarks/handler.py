"""This project's handler beside a stock one of the same kind, taking turns in one run.

For mnist preprocess, inference and postprocess per image; for the others rows a second, through envelope and handler:
texts of unequal lengths (minilm), photographs to classify (resnet18), photographs to find things in (detector).
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
from benchmarks.servers.handlers import MODELS, TOLERANCES
from benchmarks.stats import interleaved
from benchmarks.worker.answers import unlike
from benchmarks.worker.process import Worker


def workers(directory: Path) -> Dict[str, Worker]:
    """Both handlers, each in a process of its own, loaded as TorchServe's worker loads them."""
    return {
        "ours": Worker(archives.ours(directory / "ours"), directory / "ours-worker"),
        "stock": Worker(archives.stock(directory / "stock"), directory / "stock-worker"),
    }


def run_models(given: argparse.Namespace) -> Dict[str, Any]:
    """Rows of each model a second, through envelope and handler, once all handlers have answered them alike."""
    described = machine.describe()
    entries: List[Dict[str, Any]] = []
    for model in given.model:
        with tempfile.TemporaryDirectory(prefix="bench-") as place:
            loaded: Dict[str, Worker] = {}
            try:
                for name, path in MODELS[model](Path(place), given.random_weights).items():
                    loaded[name] = Worker(path, path.parent / "worker")
                entries += _rounds(model, loaded, given)
            finally:
                for worker in loaded.values():
                    worker.stop()
    return {"kind": "handler", "models": given.model, "machine": described, "entries": entries}


def _rounds(model: str, loaded: Dict[str, Worker], given: argparse.Namespace) -> List[Dict[str, Any]]:
    entries: List[Dict[str, Any]] = []
    for rows in given.rows:
        answers = {name: one.ask(do="answers", model=model, rows=rows)["rows"] for name, one in loaded.items()}
        wrong = unlike(answers, TOLERANCES[model])
        if wrong:
            raise RuntimeError(f"{model}, {rows} rows: {', '.join(wrong)} answers otherwise than the stock handler")
        for number in range(given.rounds):
            for name in interleaved(list(loaded), number):
                figures = loaded[name].ask(do="rows", model=model, rows=rows, seconds=given.seconds)
                entries.append({"model": model, "handler": name, "rows": rows, "round": number, **figures})
                rate = figures["rows_per_second"]
                print(f"{model}, batch {rows}: {name}: {rate:.1f} rows/s", file=sys.stderr, flush=True)
    return entries


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
    parser.add_argument(
        "--model",
        nargs="+",
        choices=("mnist", *MODELS),
        default=["mnist"],
        help="mnist by stage, or any of the others, whole (default: mnist)",
    )
    parser.add_argument("--random-weights", action="store_true", help="minilm without a download")
    parser.add_argument("--rows", type=int, nargs="+", help="batch sizes (default: 1 8 64; the others: 1 8 32)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each batch size (default: 5)")
    parser.add_argument("--seconds", type=float, default=1, help="seconds of calls a round (default: 1)")
    add_output(parser)
    given = parser.parse_args(arguments)
    by_stage = "mnist" in given.model
    if by_stage and given.model != ["mnist"]:
        parser.error("--model mnist goes by itself: it is measured by stage")
    given.rows = given.rows or ([1, 8, 64] if by_stage else [1, 8, 32])
    write_result(run(given) if by_stage else run_models(given), given)
    return 0
