"""The report of a run of our server with different flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

from benchmarks.reports.http import tables


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown: a table a case, the last four columns over the first variant's, pair by pair."""
    model = "texts of unequal lengths to MiniLM" if result.get("model") == "minilm" else "MNIST"
    return tables(result, "Flags of the wrapper", f"Our server with {model}, each with a TorchServe of its own.")
