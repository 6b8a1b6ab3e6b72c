"""The report of gRPC beside REST."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping

from benchmarks.reports import markdown
from benchmarks.reports.http import tables
from benchmarks.reports.serving import Run
from benchmarks.stats import paired_ratio

WORDS = (
    "Our server with MNIST, FP32 tensors of 784 numbers as raw bytes; and grpcio's own servers whose handlers wait "
    "4 ms and answer the same bytes: `aio` its asyncio server, `aio-4` four of them on one port in one loop, `threads` "
    "its synchronous server with 64 threads."
)


def report(result: Mapping[str, Any], path: Path) -> str:
    """The Markdown: the wrapper's cost over gRPC by that over REST, then a table a case."""
    rows: List[List[str]] = []
    for rest in result["runs"]:
        for run in result["runs"]:
            apart = (run["form"], run["connections"]) == ("grpc-raw", rest["connections"])
            if rest["form"] == "v2-binary" and apart and not run["void"] and not rest["void"]:
                ratio = markdown.spread(paired_ratio(_wrapper(run), _wrapper(rest)))
                rows.append([run["server"], str(run["connections"]), f"{ratio}x"])
    header = ["server over gRPC", "connections", "CPU of its process by the wrapper's over REST"]
    return f"{tables(result, 'gRPC beside REST', WORDS)}\n## gRPC by REST\n\n{markdown.table(header, rows)}\n"


def _wrapper(run: Run) -> List[float]:
    """CPU of a request in the process that takes it in."""
    return [one["cpu_s_per_1000"]["wrapper"] for one in run["rounds"]]
