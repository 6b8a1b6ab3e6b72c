"""The pod that KServe's own runtime asks for, 1 CPU and 2 GiB: the whole stack in it, with models of several sizes."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from benchmarks import machine
from benchmarks.control_group import CannotLimit, ControlGroup, limited
from benchmarks.environments import ROOT
from benchmarks.images import photograph, pngs
from benchmarks.load import closed_loop, wrk
from benchmarks.load.request_file import write_requests
from benchmarks.output import add_output, write_result
from benchmarks.payloads import HttpRequest, v1
from benchmarks.servers import archives
from benchmarks.serving import say
from kserve_wrapper.core.sockets import free_port
from scripts import serving

MODELS = ("mnist", "minilm", "densenet_161")
#: Of unequal lengths, as sentences are.
TEXTS = ["A man is eating food.", "Shares lost value.", "It rains in the north; in the south the sun shines all day."]


def requests(model: str) -> List[HttpRequest]:
    """What clients send: one row each, in turn."""
    path = f"/v1/models/{model}:predict"
    if model == "minilm":
        return [HttpRequest(path, json.dumps({"instances": [text]}).encode(), 1) for text in TEXTS]
    pictures = pngs(8) if model == "mnist" else [photograph(index, 224, 224) for index in range(4)]
    return [v1(path, [picture]) for picture in pictures]


def model_store(models: Sequence[str], place: Path) -> Path:
    """The archives as the build command makes them, of random weights where the model's own need the internet."""
    store = place / "model-store"
    for model in models:
        if model == "mnist":
            archives.ours(store)
        else:
            folder = archives.fetched(model, place / "sources", random_weights=model == "densenet_161")
            archives.packed(folder.parent, model, store)
    return store


def snapshot(models: Sequence[str]) -> str:
    """One worker each, as the stock configuration has it."""
    version = {"defaultVersion": True, "minWorkers": 1, "maxWorkers": 1, "batchSize": 1, "maxBatchDelay": 10}
    version["responseTimeout"] = 120
    versions = {name: {"1.0": {**version, "marName": f"{name}.mar"}} for name in models}
    return json.dumps({"name": "startup.cfg", "modelCount": len(versions), "models": versions})


def serve(models: Sequence[str], given: argparse.Namespace, place: Path, group: ControlGroup) -> Dict[str, Any]:
    """Starts the pod and loads each model in turn, then all at once."""
    store, http, log = model_store(models, place), free_port(), place / "log"
    flags = ["--http_port", str(http), "--grpc_port", str(free_port())]
    settings = {**serving.free_ports(), "model_snapshot": snapshot(models)}
    command = serving.supervisor_command(store, settings, flags)
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, preexec_fn=group.enter)
    try:
        serving.wait_ready(f"http://127.0.0.1:{http}", process, log)
        ready = time.monotonic() - started
        say(f"{', '.join(models)}: ready after {ready:.0f} s, {group.memory()}")
        runs = [load([name], http, count, given.seconds, place) for name in models for count in given.connections]
        if len(models) > 1:
            runs.append(load(models, http, given.connections[-1], given.seconds, place))
        return {"models": list(models), "ready_s": ready, "runs": runs, **group.memory()}
    except serving.DidNotStart as error:
        say(str(error))
        fault = f"did not become ready; {group.memory()['kills']} processes were killed for lack of memory"
        return {"models": list(models), "fault": fault, **group.memory()}
    finally:
        serving.stop(process)


def load(models: Sequence[str], http: int, connections: int, seconds: float, place: Path) -> Dict[str, Any]:
    """Requests of the models in turn over so many connections."""
    sent = [request for group in zip(*[requests(name) * 8 for name in models]) for request in group]
    file = write_requests(place / f"{'-'.join(models)}.requests", sent)
    generate = wrk.run if wrk.available() else closed_loop.run
    figures = generate(f"127.0.0.1:{http}", file, connections, seconds)
    say(f"{' + '.join(models)}, {connections}: {figures.requests_per_second:.1f} a second, {figures.errors} errors")
    return {"models": list(models), "connections": connections, **figures.to_json()}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks pod", description=__doc__)
    parser.add_argument("--processors", type=float, default=1.0, help="of the pod (default: 1)")
    parser.add_argument("--memory", type=float, default=2.0, metavar="GIB", help="of the pod (default: 2)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="default: all")
    parser.add_argument("--together", action="store_true", help="the models in one pod, not a pod for each")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16], help="default: 1 16")
    parser.add_argument("--seconds", type=float, default=10, help="seconds of load for each (default: 10)")
    add_output(parser)
    given = parser.parse_args(arguments)
    result: Dict[str, Any] = {"kind": "pod", "machine": machine.describe(), "seconds": given.seconds, "pods": []}
    result.update(processors=given.processors, memory_gib=given.memory)
    for models in [given.models] if given.together else [[name] for name in given.models]:
        try:
            memory = int(given.memory * 2**30)
            with (
                tempfile.TemporaryDirectory(prefix="bench-") as folder,
                limited("ts-kserve-pod", given.processors, memory) as group,
            ):
                result["pods"].append(serve(models, given, Path(folder), group))
        except CannotLimit as error:
            print(f"pod: {error}", file=sys.stderr)
            return 2
    write_result(result, given)
    return 1 if any("fault" in pod or any(run["errors"] for run in pod["runs"]) for pod in result["pods"]) else 0
