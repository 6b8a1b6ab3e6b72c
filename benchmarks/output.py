"""Where results go: one JSON file a run, and the report made from it at once."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any, Dict

from benchmarks.environments import ROOT


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=ROOT / "build" / "benchmarks",
        help="where the result goes: KIND-DATE.json, and the report made from it (default: build/benchmarks)",
    )


def write_result(result: Dict[str, Any], given: argparse.Namespace) -> Path:
    """Writes the result's JSON file and its report; returns the path of the JSON."""
    from benchmarks.report import write_report

    given.out.mkdir(parents=True, exist_ok=True)
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")
    path: Path = given.out / f"{result['kind']}-{stamp}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    report = write_report(path)
    print(report.read_text())
    print(f"written: {path} and {report}", file=sys.stderr, flush=True)
    return path
