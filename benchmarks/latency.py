"""Latency curves: open-loop arrivals at rising rates, latency from the intended start."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from typing import Any, Dict, List, Sequence

from benchmarks.cases import Case, requests
from benchmarks.load import open_loop
from benchmarks.load.request_file import write_requests
from benchmarks.servers.base import Server
from benchmarks.stats import interleaved

RATES = [50, 100, 200, 400, 800, 1200, 1600, 2000, 2500, 3000, 3500, 4000, 5000, 6000]
#: A server is past its capacity, and is not asked for more, when 1% of its answers take longer than this.
SATURATED_MS = 500.0


def latency_curves(servers: Sequence[Server], seconds: float, rounds: int, directory: Path) -> List[Dict[str, Any]]:
    """One entry a server, rate and round, of one base64 image a request, until the server is saturated."""
    entries: List[Dict[str, Any]] = []
    case = Case("base64", 0)
    # Those with a delay of their own for each number of connections: in that of the middle.
    able = {one.name: one.for_case(Case("base64", 16)) for one in servers if requests(case, one.forms())}
    files = {
        name: write_requests(directory / f"{name}-open.requests", requests(case, server.forms()))
        for name, server in able.items()
    }
    for rate in RATES:
        for number in range(rounds):
            for name in interleaved(list(able), number):
                with able[name].turn():
                    figures, generator = open_loop.run(able[name].http, files[name], rate, seconds, seed=number)
                entries.append({"server": name, "rate": rate, **figures.to_json(), **generator})
                print(f"{rate}/s: {name}: p99 {figures.p99_ms:.1f} ms", file=sys.stderr, flush=True)
        for name in list(able):
            at_rate = [one for one in entries if one["server"] == name and one["rate"] == rate]
            if any(one["errors"] for one in at_rate) or median(one["p99_ms"] for one in at_rate) > SATURATED_MS:
                del able[name]
    return entries
