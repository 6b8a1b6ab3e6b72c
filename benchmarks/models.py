"""Models that people serve: ours by its defaults, TorchServe's own handlers, the stock wrapper, mosec, LitServe."""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from benchmarks import machine
from benchmarks.cases import Case
from benchmarks.load.figures import LoadError
from benchmarks.output import add_output, result_path, write_json, write_result
from benchmarks.processes import StartError
from benchmarks.quiet import Quiet, add_patience
from benchmarks.servers.base import Server
from benchmarks.servers.models import MODELS, NAMES, Model, add_models_in, prepare, servers
from benchmarks.servers.stock import StockParts, add_stock, stock_parts
from benchmarks.servers.tuned import Tuned
from benchmarks.serving import rounds, say

#: ``base64`` is each server's own way; the others are ours alone.
FORMS = ("base64", "v2-binary", "grpc-raw")


def cases(model: Model, forms: Sequence[str], connections: Sequence[int]) -> List[Case]:
    return [Case(form, count, 1, kind) for kind in model.pictures for form in forms for count in connections]


def works(model: Model, server: Server, step: Callable[[], None]) -> bool:
    """Whether a step of a server's start did; one server's fault must not cost the others' figures."""
    try:
        step()
    except (StartError, LoadError) as error:
        say(f"{model.name}: {server.name} is left out: {error}")
        server.stop()
        return False
    return True


def begin(model: Model, server: Server, place: Path) -> None:
    say(f"{model.name}: starting {server.name}")
    server.start(place / server.name, 300)
    server.rest()


def measured(
    model: Model, given: argparse.Namespace, stock: Optional[StockParts], place: Path, quiet: Quiet
) -> Dict[str, Any]:
    """One model behind all its servers: what was measured of it, and of the peers' delays."""
    folder = prepare(model, given.models_in)
    up = servers(model, folder, given.servers, given.windows, given.connections, stock)
    wanted = cases(model, given.forms, given.connections)
    try:
        tried = [one for one in up if isinstance(one, Tuned)]
        bad = [one for one in tried if not works(model, one, partial(one.try_all, place, given.seconds))]
        for one in up:
            one.beside_others = len(up) > 1
        able = [one for one in up if one not in bad and works(model, one, partial(begin, model, one, place))]
        records = rounds(able, wanted, given.rounds, given.seconds, place, quiet)
    finally:
        for server in up:
            server.stop()
    windows = {one.name: one.tried for one in tried if one not in bad}
    return {"model": model.name, "windows": windows, "runs": [record.to_json() for record in records]}


def run(given: argparse.Namespace, path: Path) -> Dict[str, Any]:
    """All models in turn; what is known is written to ``path`` after each."""
    result: Dict[str, Any] = {"kind": "models", "machine": machine.describe(), "seconds": given.seconds, "models": []}
    quiet, stock = Quiet(given.patience), stock_parts(given)
    for name in given.models:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            result["models"].append(measured(MODELS[name], given, stock, Path(folder), quiet))
        result["machine"]["steal"] = quiet.to_json()
        write_json(result, path)
    return result


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks models", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), help="default: all")
    parser.add_argument("--servers", nargs="+", choices=NAMES, default=list(NAMES), help="default: all")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS), help="default: all")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64], help="default: 1 16 64")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every case (default: 3)")
    parser.add_argument("--seconds", type=float, default=4, help="seconds of load a round (default: 4)")
    parser.add_argument(
        "--windows", type=float, nargs="+", metavar="MS", default=[0, 5], help="the peers' delays to try (default: 0 5)"
    )
    add_models_in(parser)
    parser.add_argument("--prepare", action="store_true", help="make weights and archives, and measure nothing")
    add_stock(parser)
    add_patience(parser)
    add_output(parser)
    given = parser.parse_args(arguments)
    if given.prepare:
        for name in given.models:
            print(prepare(MODELS[name], given.models_in))
        return 0
    path = result_path("models", given)
    result = run(given, path)
    write_result(result, given, path)
    void = [one for model in result["models"] for one in model["runs"] if one["void"] and one["server"] == "ours"]
    return 1 if void else 0
