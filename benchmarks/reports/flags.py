"""The report of a run of our server with different flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

from benchmarks.reports.http import tables


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown: a table a case, the last three columns over the first variant's, pair by pair."""
    return tables(result, "Flags of the wrapper", "Our server with MNIST, each with a TorchServe of its own.")
