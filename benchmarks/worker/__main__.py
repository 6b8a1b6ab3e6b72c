"""The worker's process: reads commands as JSON lines, answers each with a JSON line.

    python -m benchmarks.worker ARCHIVE DIRECTORY

``{"do": "stages", "rows": n, "seconds": s}``: microseconds per image of preprocess, inference, postprocess.
``{"do": "texts", "rows": n, "seconds": s}``: texts of unequal lengths a second through envelope and handler.
``{"do": "serve", "rows": n, "seconds": s, "explain": bool}``: rows a second through envelope and handler.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Dict

from benchmarks.images import pngs
from benchmarks.texts import sentences
from benchmarks.worker.loading import load, loaded_handler, parsed, rate, request, request_of
from benchmarks.worker.stages import timed


def answer(service: Any, command: Dict[str, Any]) -> Dict[str, float]:
    """The figures of one command."""
    seconds = command["seconds"]
    handler = loaded_handler()
    if command["do"] == "texts":
        return {"rows_per_second": texts_a_second(service, handler, command["rows"], seconds)}
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


def texts_a_second(service: Any, handler: Any, rows: int, seconds: float) -> float:
    """Of requests with so many texts each."""
    raw = hasattr(handler, "answer")
    texts = [text if raw else {"data": text} for text in sentences(rows)]

    def call() -> None:
        assert service.predict(parsed(request_of(texts, raw)))

    for _ in range(3):
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
