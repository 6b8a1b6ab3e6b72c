"""How cost grows with rows per request, connections, image size, workers and models."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from benchmarks import machine
from benchmarks.images import DISTINCT, pngs
from benchmarks.load import wrk
from benchmarks.load.request_file import write_requests
from benchmarks.output import add_output, write_result
from benchmarks.payloads import HttpRequest, v1
from benchmarks.quiet import Quiet, add_patience
from benchmarks.servers.ours import Ours
from benchmarks.servers.torchserve_config import properties

#: What grows, and through which values.
AXES: Dict[str, List[int]] = {
    "rows": [1, 2, 4, 8, 16, 32, 64, 128, 256],
    "connections": [1, 2, 4, 8, 16, 32, 64, 128, 256],
    "side": [28, 56, 112, 224, 448],
    "workers": [1, 2, 4],
    "models": [1, 2, 4, 8],
}
#: Connections where they are not what grows.
CONNECTIONS = {"rows": 8, "side": 64, "workers": 64, "models": 64}


def path_of(model: str) -> str:
    return f"/v1/models/{model}:predict"


def load_of(axis: str, value: int) -> Tuple[Sequence[HttpRequest], int]:
    """The requests and the connections of one point."""
    connections = value if axis == "connections" else CONNECTIONS[axis]
    rows = value if axis == "rows" else 1
    side = value if axis == "side" else 28
    models = names(value if axis == "models" else 1)
    count = DISTINCT if rows == 1 else 8
    made = [v1(path_of(models[i % len(models)]), pngs(rows, first=i, side=side)) for i in range(count)]
    return made, connections


def names(models: int) -> List[str]:
    return ["mnist", *(f"mnist{number}" for number in range(2, models + 1))]


def server_of(axis: str, value: int) -> Ours:
    """The documented configuration, with more workers or more models where those grow."""
    workers = value if axis == "workers" else 1
    models = names(value if axis == "models" else 1)
    snapshot = properties(Path(), models, minWorkers=workers, maxWorkers=max(5, workers))["model_snapshot"]
    return Ours({"model_snapshot": snapshot}, models=models)


def grouped(axes: Sequence[str]) -> Iterator[Tuple[Ours, List[Tuple[str, int]]]]:
    """Servers and the points that each can measure: one server for all axes that are in the requests alone."""
    plain = [(axis, value) for axis in axes if axis not in ("workers", "models") for value in AXES[axis]]
    if plain:
        yield server_of("rows", 1), plain
    for axis in axes:
        if axis in ("workers", "models"):
            for value in AXES[axis]:
                yield server_of(axis, value), [(axis, value)]


def measure_point(server: Ours, axis: str, value: int, seconds: float, directory: Path) -> Dict[str, Any]:
    requests, connections = load_of(axis, value)
    file = write_requests(directory / f"{axis}-{value}.requests", requests)
    wrk.run(server.http, file, connections, 1)
    before = server.usage()
    figures = wrk.run(server.http, file, connections, seconds)
    usage = server.usage().since(before)
    rows = figures.requests * requests[0].rows
    print(f"{axis} {value}: {rows / figures.seconds:.0f} rows/s", file=sys.stderr, flush=True)
    return {
        "axis": axis,
        "value": value,
        "rows_per_second": rows / figures.seconds,
        # Cores that each process kept busy, on average.
        "cores": {role: cpu / figures.seconds for role, cpu in usage.cpu_s.items()},
        "cpu_us_per_row": sum(usage.cpu_s.values()) / max(1, rows) * 1e6,
        "peak_mib": usage.peak_mib,
        **figures.to_json(),
    }


def run(given: argparse.Namespace) -> Dict[str, Any]:
    entries: List[Dict[str, Any]] = []
    quiet = Quiet(given.patience)
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        for index, (server, points) in enumerate(grouped(given.axes)):
            directory = Path(place) / str(index)
            try:
                server.start(directory)
                measure_point(server, "connections", 64, 3, directory)  # Java compiles what is hot
                for number in range(given.rounds):
                    for axis, value in points if number % 2 == 0 else reversed(points):
                        entry = quiet.run(measure_point, server, axis, value, given.seconds, directory)
                        entries.append({**entry, "round": number})
            finally:
                server.stop()
    described = {**machine.describe(), "steal": quiet.to_json()}
    return {"kind": "growth", "machine": described, "processors": os.cpu_count(), "entries": entries}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks growth", description=__doc__)
    described = ", ".join(f"{axis} {json.dumps(values)}" for axis, values in AXES.items())
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES), help=f"{described}; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--seconds", type=float, default=2, help="seconds of load a round (default: 2)")
    add_patience(parser)
    add_output(parser)
    given = parser.parse_args(arguments)
    write_result(run(given), given)
    return 0
