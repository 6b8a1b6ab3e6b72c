"""TorchServe alone, from the installed package, in the forms that a user would pick."""

from __future__ import annotations

import http.client
import os
import sys
from pathlib import Path
from typing import Dict, Mapping, Optional

from benchmarks.payloads import raw_image, v1
from benchmarks.processes import ProcessGroup
from benchmarks.servers import archives
from benchmarks.servers.base import Build, Server, get
from benchmarks.servers.torchserve_config import address, java_home, properties, write

#: Requests that TorchServe may queue: the documented 10 would refuse most of 64 connections.
QUEUE = 1000


def launch_torchserve(
    directory: Path,
    settings: Mapping[str, str],
    envelope: Optional[str],
    python: str = sys.executable,
    threads: Optional[int] = None,
) -> ProcessGroup:
    """TorchServe by its own launcher, in the foreground, with private temporary files and sockets."""
    config = write(directory / "config.properties", settings)
    environment: Dict[str, Optional[str]] = {
        "TEMP": str(directory),
        "LOG_LOCATION": str(directory / "logs"),
        "METRICS_LOCATION": str(directory / "logs"),
        "TS_SERVICE_ENVELOPE": envelope,
        "JAVA_HOME": java_home(),
        "PYTHONPATH": None,
        "PATH": f"{Path(python).parent}:/usr/local/bin:/usr/bin:/bin",
    }
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    entry = "from ts.model_server import start; start()"
    command = [python, "-c", entry, "--start", "--foreground", "--ncs", "--ts-config", str(config)]
    command += ["--model-store", settings["model_store"]]
    return ProcessGroup("launcher", command, directory, environment)


def model_ready(inference: str, model: str = "mnist") -> bool:
    """Whether TorchServe at ``host:port`` has a worker of the model that is READY."""
    try:
        status, body = get(inference, f"/models/{model}")
    except (OSError, http.client.HTTPException):
        return False
    return status == 200 and b'"READY"' in body


class TorchServe(Server):
    """The stock vision handler behind the stock V1 envelope, as KServe sets it, batchSize 1 as documented.

    (With a larger batchSize the stock envelope answers no concurrent request: it reads the first only.)
    """

    name = "torchserve"
    envelope: Optional[str] = "kserve"
    #: OMP_NUM_THREADS of the workers; None = as it comes, a thread a processor.
    threads: Optional[int] = None

    def settings(self, store: Path) -> Dict[str, str]:
        archives.stock(store)
        return properties(store, queue=QUEUE)

    def launch(self, directory: Path) -> None:
        settings = self.settings(directory / "model-store")
        self.http = address(settings)
        self.groups = [launch_torchserve(directory, settings, self.envelope, threads=self.threads)]

    def is_ready(self) -> bool:
        return model_ready(self.http)

    def forms(self) -> Mapping[str, Build]:
        return {
            "base64": lambda images: v1("/v1/models/mnist:predict", images),
            "v1-base64": lambda images: v1("/v1/models/mnist:predict", images),
            "explain": lambda images: v1("/v1/models/mnist:explain", images),
        }


class TorchServeBatched(TorchServe):
    """TorchServe in its best light: no envelope, the file as the body, batching on, half of the processors' threads."""

    name = "torchserve-batched"
    envelope = None
    threads = max(1, len(os.sched_getaffinity(0)) // 2)

    def settings(self, store: Path) -> Dict[str, str]:
        archives.stock(store)
        return properties(store, queue=QUEUE, batchSize=64, maxBatchDelay=2)

    def forms(self) -> Mapping[str, Build]:
        return {"base64": lambda images: raw_image("/predictions/mnist", images)}


class TorchServeEmpty(TorchServe):
    """An empty handler: TorchServe's own ceiling. Its answers carry no digits."""

    name = "torchserve-empty"
    envelope = None

    def __init__(self, batch: int = 1) -> None:
        super().__init__()
        self.batch = batch
        self.name = f"torchserve-empty-{batch}"

    def settings(self, store: Path) -> Dict[str, str]:
        archives.empty(store)
        return properties(store, queue=QUEUE, batchSize=self.batch, maxBatchDelay=2)

    def forms(self) -> Mapping[str, Build]:
        return {"ceiling": lambda images: raw_image("/predictions/mnist", images)}
