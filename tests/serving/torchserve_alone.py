"""TorchServe with an archive and nothing in front of it, for what the handler must do by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional

from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.supervisor import java, launch
from kserve_wrapper.torchserve import config

START_SECONDS = 120


@dataclass(frozen=True)
class Alone:
    """Where a running TorchServe answers, and its log."""

    base: str
    management: str
    log: Path


def properties(store: Path, batch_size: int, extra: Mapping[str, str]) -> str:
    """A config.properties for one mnist model."""
    version = {
        "defaultVersion": True,
        "marName": "mnist.mar",
        "minWorkers": 1,
        "maxWorkers": 1,
        "batchSize": batch_size,
        "maxBatchDelay": 50,
        "responseTimeout": 120,
    }
    snapshot = {"name": "startup.cfg", "modelCount": 1, "models": {"mnist": {"1.0": version}}}
    ports = {name: free_port() for name in ("inference", "management", "metrics", "grpc", "grpc_management")}
    lines = {
        "inference_address": f"http://127.0.0.1:{ports['inference']}",
        "management_address": f"http://127.0.0.1:{ports['management']}",
        "metrics_address": f"http://127.0.0.1:{ports['metrics']}",
        "grpc_inference_port": str(ports["grpc"]),
        "grpc_management_port": str(ports["grpc_management"]),
        "job_queue_size": "1000",
        "enable_envvars_config": "true",
        "disable_token_authorization": "true",
        "model_store": str(store),
        "model_snapshot": json.dumps(snapshot),
        **extra,
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items())


@contextmanager
def torchserve_alone(
    store: Path,
    folder: Path,
    envelope: Optional[str],
    batch_size: int,
    extra: Optional[Mapping[str, str]] = None,
) -> Iterator[Alone]:
    """Run TorchServe until the block ends.

    Args:
        store: a folder with mnist.mar.
        folder: a private folder for its files and log.
        envelope: TS_SERVICE_ENVELOPE, as KServe sets it, or None.
    """
    (folder / "tmp").mkdir(parents=True)
    path = folder / "config.properties"
    path.write_text(properties(store, batch_size, extra or {}))
    environ = {key: value for key, value in os.environ.items() if not key.startswith("TS_") and key != "PYTHONPATH"}
    if envelope is not None:
        environ["TS_SERVICE_ENVELOPE"] = envelope
    found = java.find(environ)
    settings = config.load(path, environ)
    command = launch.command(found, launch.find_torchserve(), settings, None, folder)
    log = folder / "torchserve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=launch.environment(environ, found),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    alone = Alone(settings.inference_address, settings.management_address, log)
    try:
        wait_ready(alone, process)
        yield alone
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ready_workers(alone: Alone) -> int:
    """Workers of mnist that TorchServe calls READY; 0 while it does not answer."""
    try:
        with urllib.request.urlopen(f"{alone.management}/models/mnist", timeout=5) as response:
            described: list[dict[str, Any]] = json.load(response)
    except urllib.error.HTTPError as error:
        error.close()
        return 0
    except OSError:
        return 0
    return sum(worker["status"] == "READY" for worker in described[0]["workers"])


def wait_ready(alone: Alone, process: subprocess.Popen[bytes]) -> None:
    """Until a worker is READY; fails with the log's end when TorchServe ends or takes too long."""
    end = time.monotonic() + START_SECONDS
    while not ready_workers(alone):
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"TorchServe did not come up:\n{alone.log.read_text(errors='replace')[-6000:]}")
        time.sleep(0.3)
