"""How long a pod takes from its start to its first answer, step by step.

    python -m benchmarks.cold_start [--mar FILE] [--request FILE --path /v1/models/mnist:predict] [--rounds 3]
    python -m benchmarks.cold_start --compare PLAIN AHEAD      models built with --no-compile, and compiled ahead

Starts the supervisor as the image does, watches it from outside, and writes the median of each step into the report
that docs/scaling.md is made from. What a cluster adds (scheduling, pulling the image, fetching the model) is not in
it: that depends on the cluster.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from PIL import Image

from benchmarks.capacity import REPORT, ROOT
from kserve_wrapper.core.probe import answers
from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.modelstore import write

#: Seconds after which a start counts as failed, and between two looks.
LIMIT, PAUSE = 120.0, 0.01
#: Seconds for an answer.
ASK = 60.0


class StartFailed(RuntimeError):
    """The pod did not get ready; the message has the end of its output."""


@contextlib.contextmanager
def pod(store: Path, ports: Sequence[int], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The supervisor over a model directory, stopped at the end."""
    http, grpc, inference, management, metrics, ts_grpc, ts_management = ports
    chosen = {
        "inference_address": f"http://127.0.0.1:{inference}",
        "management_address": f"http://127.0.0.1:{management}",
        "metrics_address": f"http://127.0.0.1:{metrics}",
        "grpc_inference_port": str(ts_grpc),
        "grpc_management_port": str(ts_management),
    }
    command = [sys.executable, "-m", "kserve_wrapper.supervisor", "torchserve", "--start"]
    command += [f"--ts-config={store / 'config' / 'config.properties'}", f"--model-store={store / 'model-store'}"]
    command += [f"--set={key}={value}" for key, value in chosen.items()]
    command += ["--", f"--http_port={http}", f"--grpc_port={grpc}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def one_start(mar: Path, path: str, body: bytes) -> Dict[str, float]:
    """Seconds of each step of one start, in order.

    Raises:
        StartFailed: the supervisor ended, or a step took longer than the limit.
    """
    with tempfile.TemporaryDirectory() as temporary:
        store, log = Path(temporary, "models"), Path(temporary, "log")
        write(store, [mar])
        ports = [free_port() for _ in range(7)]
        base, upstream = (f"http://127.0.0.1:{port}" for port in (ports[0], ports[2]))
        steps: Dict[str, Callable[[], bool]] = {
            "wrapper answers (live)": lambda: answers(f"{base}/v2/health/live", timeout=ASK),
            "TorchServe's Java answers": lambda: answers(f"{upstream}/ping", timeout=ASK),
            "worker has loaded the model, warmed up (ready)": lambda: answers(f"{base}/v2/health/ready", timeout=ASK),
            "first answer": lambda: answers(base + path, body, ASK),
        }
        started = time.monotonic()
        with pod(store, ports, log) as process:
            return {name: _wait(name, done, process, log, started) for name, done in steps.items()}


def _wait(name: str, done: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, started: float) -> float:
    begun = time.monotonic()
    while not done():
        if process.poll() is not None or time.monotonic() - started > LIMIT:
            raise StartFailed(f"{name}: not reached. The output ends with:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(PAUSE)
    # The first step's begin is the start of the process, not of this wait.
    return time.monotonic() - (started if name.startswith("wrapper") else begun)


def medians(rounds: Sequence[Dict[str, float]]) -> List[Dict[str, Any]]:
    """The steps with the median of their seconds over the rounds."""
    return [{"step": name, "seconds": round(median(r[name] for r in rounds), 3)} for name in rounds[0]]


def request_for(model: str) -> bytes:
    """A V1 request of one row for a model of model-archiver/model-store."""
    if model == "mnist":
        return (ROOT / "tests" / "data" / "requests" / "v1_mnist.json").read_bytes()
    instance = "A man is eating food." if model == "minilm" else {"b64": base64.b64encode(_picture()).decode()}
    return json.dumps({"instances": [instance]}).encode()


def _picture() -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, "PNG")
    return file.getvalue()


def compare(plain: Path, ahead: Path, rounds: int) -> List[Dict[str, Any]]:
    """The steps of each archive that lies in both folders, in turns.

    Raises:
        StartFailed: as :func:`one_start`.
    """
    rows: List[Dict[str, Any]] = []
    for mar in sorted(plain.glob("*.mar"), key=lambda path: path.stat().st_size):
        model = mar.stem
        path, body = f"/v1/models/{model}:predict", request_for(model)
        made: Dict[str, List[Dict[str, float]]] = {"plain": [], "ahead": []}
        for _ in range(rounds):
            for name, folder in (("plain", plain), ("ahead", ahead)):
                made[name].append(one_start(folder / mar.name, path, body))
                print(f"{model}, {name}: {sum(made[name][-1].values()):.2f} s", file=sys.stderr, flush=True)
        rows.append({"model": model, **{name: medians(found) for name, found in made.items()}})
    return rows


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start", description=__doc__.splitlines()[0])
    parser.add_argument("--mar", type=Path, default=ROOT / "build" / "model-store" / "mnist.mar")
    parser.add_argument("--path", default="/v1/models/mnist:predict")
    parser.add_argument("--request", type=Path, default=ROOT / "tests" / "data" / "requests" / "v1_mnist.json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--compare", nargs=2, type=Path, metavar="DIR", help="folders of archives of the same names")
    options = parser.parse_args(arguments)
    report = json.loads(options.report.read_text(encoding="utf-8")) if options.report.is_file() else {}
    measured = f"{_here()}; median of {options.rounds} starts"
    if options.compare:
        try:
            report["cold_start_models"] = compare(*options.compare, options.rounds)
        except StartFailed as failure:
            print(f"cold start: {failure}", file=sys.stderr)
            return 1
        report["cold_start_models_on"] = measured
        _write(options.report, report)
        return 0
    try:
        rounds = [one_start(options.mar, options.path, options.request.read_bytes()) for _ in range(options.rounds)]
    except StartFailed as failure:
        print(f"cold start: {failure}", file=sys.stderr)
        return 1
    report["cold_start"] = medians(rounds)
    report["cold_start_on"] = f"{measured} of {options.mar.stem}"
    _write(options.report, report)
    for step in report["cold_start"]:
        print(f"{step['seconds']:8.3f} s  {step['step']}")
    return 0


def _here() -> str:
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, TorchServe {version('torchserve')}, "
        f"torch {version('torch')}"
    )


def _write(path: Path, report: Dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
