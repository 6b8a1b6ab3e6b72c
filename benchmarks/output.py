"""Where results go: one JSON file a run, and the report made from it at once."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any, Dict, Optional

from benchmarks.environments import ROOT


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=ROOT / "build" / "benchmarks",
        help="where the result goes: KIND-DATE.json, and the report made from it (default: build/benchmarks)",
    )


def result_path(kind: str, given: argparse.Namespace) -> Path:
    """Where a result that is made now goes; its folder is there afterwards."""
    given.out.mkdir(parents=True, exist_ok=True)
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")
    path: Path = given.out / f"{kind}-{stamp}.json"
    return path


def write_json(result: Dict[str, Any], path: Path) -> None:
    """Writes the result as it is so far; a reader finds the old file or the new one, and no half of it."""
    whole = path.with_suffix(".part")
    whole.write_text(json.dumps(result, indent=1) + "\n")
    whole.replace(path)


def write_result(result: Dict[str, Any], given: argparse.Namespace, path: Optional[Path] = None) -> Path:
    """Writes the result's JSON file and its report; returns the path of the JSON.

    Args:
        path: of :func:`result_path`, where parts of the result went there already.
    """
    from benchmarks.report import write_report

    path = path or result_path(result["kind"], given)
    write_json(result, path)
    report = write_report(path)
    print(report.read_text())
    print(f"written: {path} and {report}", file=sys.stderr, flush=True)
    return path
