"""Markdown and plots from a result's JSON: python -m benchmarks report RESULT.json …"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Optional, Sequence

KINDS = (
    *("serving", "limit", "handler", "growth", "http", "flags", "models", "decoding", "gpu", "profile"),
    *("pod", "perf_analyzer", "rpc"),
)


def write_report(path: Path) -> Path:
    """Writes the report of a result beside it, as .md and .png, and returns the path of the Markdown.

    Raises:
        ValueError: the result is of no known kind.
    """
    result = json.loads(path.read_text())
    if result.get("kind") not in KINDS:
        raise ValueError(f"{path}: kind is {result.get('kind')!r}; known are {', '.join(KINDS)}")
    out = path.with_suffix(".md")
    text: str = importlib.import_module(f"benchmarks.reports.{result['kind']}").report(result, out)
    out.write_text(text.rstrip() + "\n")
    return out


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULT.json")
    for path in parser.parse_args(arguments).results:
        print(write_report(path))
    return 0
