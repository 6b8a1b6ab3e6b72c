"""`make serve`: TorchServe and the wrapper in the foreground on the document's ports, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from kserve_wrapper.torchserve import archive, config
from scripts.serving import CONFIG, ROOT, build_archive, supervisor_command

MODEL = "mnist"


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Entry point; becomes the supervisor, so that signals and the exit status are its own."""
    models = list(dict.fromkeys(_parser().parse_args(arguments).model or [MODEL]))
    store = ROOT / "build" / "model-store"
    try:
        for model in models:
            build_archive(store, model)
    except subprocess.CalledProcessError as error:
        sys.exit(f"serve: the archive of {model} could not be built (status {error.returncode}; see above)")
    settings = {"model_snapshot": snapshot(store, models)}
    wrapper = ["--http_port", "8080", "--grpc_port", "8081"]
    # With tokens TorchServe cannot serve inference and management at one address, as the document has them.
    command = supervisor_command(store, settings, wrapper, CONFIG, ["--disable-token-auth"])
    os.chdir(ROOT)
    os.execv(command[0], command)


def snapshot(store: Path, models: Sequence[str]) -> str:
    """The property model_snapshot: each model as the document's configuration has mnist."""
    [usual] = config.load(CONFIG, {}).models[MODEL].values()
    served: Dict[str, Any] = {}
    for model in models:
        found = archive.read(store / f"{model}.mar")
        served[found.name] = {
            found.version: {
                "defaultVersion": True,
                "marName": found.path.name,
                "minWorkers": usual.min_workers,
                "maxWorkers": usual.max_workers,
                "batchSize": usual.batch_size,
                "maxBatchDelay": usual.max_batch_delay,
                "responseTimeout": usual.response_timeout,
            }
        }
    return json.dumps({"name": "startup.cfg", "modelCount": len(served), "models": served})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.serve", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help=f"build and serve the model of model-archiver/model-store/NAME; may repeat (default {MODEL})",
    )
    return parser


if __name__ == "__main__":
    main()
