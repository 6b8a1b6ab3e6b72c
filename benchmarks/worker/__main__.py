"""The worker's process: reads commands as JSON lines, answers each with a JSON line.

    python -m benchmarks.worker ARCHIVE DIRECTORY

``{"do": "stages", "rows": n, "seconds": s}``: microseconds per image of preprocess, inference, postprocess.
``{"do": "rows", "model": name, "rows": n, "seconds": s}``: rows of another model a second through envelope and handler.
``{"do": "answers", "model": name, "rows": n}``: what it answers them.
``{"do": "serve", "rows": n, "seconds": s, "explain": bool}``: rows a second through envelope and handler.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path
from typing import Any, Dict

from benchmarks.images import pngs
from benchmarks.worker.answers import asked, gist, predictions
from benchmarks.worker.loading import Batch, load, loaded_handler, parsed, rate, request
from benchmarks.worker.stages import timed


def answer(service: Any, command: Dict[str, Any]) -> Dict[str, Any]:
    """The figures of one command."""
    seconds = command.get("seconds", 0)
    handler = loaded_handler()
    if "model" in command:
        batch = asked(command["model"], command["rows"], hasattr(handler, "answer"))
        if command["do"] == "answers":
            return {"rows": [gist(one) for one in predictions(bytes(service.predict(parsed(batch))))]}
        return {"rows_per_second": rows_a_second(service, batch, command["rows"], seconds)}
    images = pngs(command["rows"])
    if command["do"] == "stages":
        return timed(handler, images, seconds)
    raw, explain = hasattr(handler, "answer"), bool(command.get("explain"))

    def call() -> None:
        status = service.predict(parsed(request(images, raw, explain)))
        assert status

    for _ in range(3):
        call()
    return {"rows_per_second": rate(call, seconds) * len(images)}


def rows_a_second(service: Any, batch: Batch, rows: int, seconds: float) -> float:
    """Of one request, time and again."""

    def call() -> None:
        assert service.predict(parsed(copy.deepcopy(batch)))

    for _ in range(2):
        call()
    return rate(call, seconds) * rows


def main() -> None:
    archive, directory = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    # Handlers print their metrics on standard output: the answers take another way out.
    out = os.fdopen(os.dup(1), "w")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    service = load(archive, directory)
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(service, json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()
