"""The report of what decoding photographs takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

from benchmarks.reports import markdown
from benchmarks.stats import spread

TITLES = ["photograph", "format", "rows", "threads", "reducing gap", "ms an image", "pixels off, of 255"]


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown: a line for each way to decode each kind of batch."""
    text = markdown.heading("Decoding photographs", result["machine"])
    text += (
        "Encoded photographs, drawn by code, to uint8 [rows, 3, 224, 224] by the handler's decoder: the centre of the "
        "image once its shorter side is 256. With a reducing gap (`jpeg_reducing_gap`) a JPEG is decoded at reduced "
        "scale where it is large enough; what that changes is the mean difference of pixels from the full scale's. "
        "Ways took turns within each round.\n\n"
    )
    return text + markdown.table(TITLES, lines(result)) + "\n"


def lines(result: Mapping[str, Any]) -> List[List[str]]:
    """A line for each way to decode each kind of batch, as ``TITLES`` says."""
    times: Dict[Tuple[Any, ...], List[float]] = {}
    off: Dict[Tuple[Any, ...], float] = {}
    for entry in result["entries"]:
        size = f"{entry['width']}x{entry['height']}"
        key = (size, entry["format"], entry["rows"], entry["threads"], entry["gap"])
        times.setdefault(key, []).append(entry["ms"])
        off[key] = entry["off"]
    return [[*_shown(key), markdown.spread(spread(all_)), markdown.number(off[key])] for key, all_ in times.items()]


def _shown(key: Tuple[Any, ...]) -> List[str]:
    size, fmt, rows, threads, gap = key
    return [size, fmt, str(rows), str(threads), f"{gap:g}" if gap else ""]
