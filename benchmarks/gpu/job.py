"""One measurement's process: python -m benchmarks.gpu.job RESULTS, with the job as a JSON line on its input.

It imports what takes long, waits for a second line ("go"), does the job, and appends a JSON line to RESULTS for each
figure as it comes, so that what a kill cuts short is there all the same.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

Job = Dict[str, Any]
Lines = Iterator[Dict[str, Any]]


def prepare(job: Job) -> Lines:
    """Weights and references of every model."""
    from benchmarks.gpu import models

    for name in job["models"]:
        models.prepare(name, Path(job["place"]))
        yield {"prepared": name}


def package(job: Job) -> Lines:
    """A model compiled by AOTInductor."""
    import time

    # Several are compiled at once, beside the tests.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "3")
    from benchmarks.gpu import models

    begin = time.perf_counter()
    target = Path(job["place"]) / job["file"]
    models.package(job["model"], job["precision"], job["device"], target.with_suffix(".part.pt2"))
    target.with_suffix(".part.pt2").replace(target)
    yield {"package": job["file"], "seconds": time.perf_counter() - begin, "mib": target.stat().st_size / 2**20}


def _served(job: Job) -> Any:
    from benchmarks.gpu import models
    from benchmarks.gpu.served import Served

    place = Path(job["place"])
    return Served(models.folder(job["model"], job, place, place / job["name"].replace(" ", "-")), job["device"])


def predict(job: Job) -> Lines:
    """Requests to predict, and how far the scores are from the reference's."""
    from benchmarks.gpu import models
    from benchmarks.gpu import served as timing

    served = _served(job)
    distance = served.distance(Path(job["place"]) / f"{job['model']}.reference.pt")
    yield {"load_s": served.load_seconds, "float32": served.float32(), "distance": distance}
    yield from timing.timed(
        served, job["model"], job["batches"], job["seconds"], lambda rows: models.example(job["model"], rows)
    )
    yield {"most_mib": timing.memory(job["device"])[0]}


def explain(job: Job) -> Lines:
    """Requests to explain."""
    from benchmarks.gpu import served as timing

    served = _served(job)
    yield {"load_s": served.load_seconds, "float32": served.float32()}
    yield from timing.explained(served, job["model"], job["batches"], job["seconds"])


def photographs(job: Job) -> Lines:
    """Ways to decode photographs."""
    from benchmarks.gpu import photographs as ways

    yield from ways.timed(_served(job).handler, job["count"], job["device"], job["seconds"])


def trace(job: Job) -> Lines:
    """One profiler trace."""
    from benchmarks.gpu.trace import traced

    served = _served(job)
    for batch in job["batches"]:
        yield traced(
            served, job["model"], batch, job["calls"], Path(job["traces"]) / f"trace-{job['model']}-{batch}.json"
        )


def serving(job: Job) -> Lines:
    """The whole stack under load."""
    from benchmarks.cases import Case
    from benchmarks.servers.ours import Ours
    from benchmarks.serving import rounds

    server = Ours()
    place = Path(job["place"]) / "serving"
    try:
        server.start(place / "ours")
        cases = [Case("base64", count) for count in (1, 64, 256)] + [Case("v2-binary", 64), Case("explain", 64)]
        for one in rounds([server], cases, 3, job["seconds"], place):
            yield {"run": one.to_json()}
    finally:
        server.stop()


JOBS: Dict[str, Callable[[Job], Lines]] = {
    one.__name__: one for one in (prepare, package, predict, explain, photographs, trace, serving)
}


def _import(handler: str) -> None:
    """In the worker's order: its loader before our package, which replaces envelopes and is for our handlers alone."""
    for name in ("torchvision", "ts.model_loader", "ts.torch_handler.image_classifier", "benchmarks.gpu.served"):
        importlib.import_module(name)
    if handler == "ours":
        importlib.import_module("mnist_handler")


def main() -> int:
    """Entry point; 1 where the job failed, with the error as the last line of RESULTS."""
    # Handlers print their metrics on standard output.
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    if "handler" in job:
        _import(job["handler"])
    if sys.stdin.readline().strip() != "go":
        return 1
    with Path(sys.argv[1]).open("a") as results:
        try:
            for line in JOBS[job["do"]](job):
                print(json.dumps(line), file=results, flush=True)
        except Exception as error:
            print(json.dumps({"error": f"{type(error).__name__}: {str(error)[-600:]}"}), file=results, flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
