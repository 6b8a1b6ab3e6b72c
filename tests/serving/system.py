"""Supervisor, wrapper and TorchServe with a handler that does what a request asks, for tests that break things."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, List, Mapping, Optional, Sequence

import pytest

from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.supervisor.launch import find_torchserve
from scripts.serving import supervised, tail
from tests.serving.servers import Served

HANDLER = '''
import os
import time

from ts.torch_handler.base_handler import BaseHandler


class Obedient(BaseHandler):
    """Each instance is the seconds to sleep; the prediction is the instance."""

    def initialize(self, context):
        if os.path.exists(os.environ.get("OBEDIENT_BROKEN", "")):
            raise RuntimeError("broken on purpose")
        self.context = context
        self.initialized = True

    def preprocess(self, data):
        return [instance for row in data for instance in (row.get("body") or row.get("data"))["instances"]]

    def inference(self, instances):
        time.sleep(sum(instances))
        return instances

    def postprocess(self, instances):
        return [{"predictions": instances}]

    def describe_handle(self):
        return {"name": "obedient", "versions": ["1.0"], "inputs": [
            {"name": "seconds", "datatype": "FP32", "shape": [-1]}], "outputs": [], "extensions": ["told"]}
'''
INSTALLED = find_torchserve()
asks_for_tokens = pytest.mark.skipif(not INSTALLED.asks_for_tokens, reason="TorchServe has tokens since 0.11.1")
recovers = pytest.mark.skipif(
    INSTALLED.version < (0, 10), reason="TorchServe before 0.10 never recovers from a killed worker"
)

#: How much longer than measured a step may take on a busy machine: seconds.
PATIENCE = 60.0


def build(store: Path) -> None:
    """Put obedient.mar into ``store``."""
    handler = store / "obedient_handler.py"
    handler.write_text(HANDLER)
    archiver = Path(sys.executable).with_name("torch-model-archiver")
    names = ["--model-name", "obedient", "--version", "1.0", "--handler", str(handler), "--export-path", str(store)]
    subprocess.run([str(archiver), *names, "--force"], check=True)


def snapshot(workers: int = 1) -> str:
    """model_snapshot with the one model, or with none."""
    version = {"marName": "obedient.mar", "minWorkers": workers, "maxWorkers": workers, "batchSize": 1}
    version.update({"defaultVersion": True, "maxBatchDelay": 10, "responseTimeout": 120})
    return json.dumps({"name": "startup.cfg", "modelCount": 1, "models": {"obedient": {"1.0": version}}})


@dataclass(frozen=True)
class System:
    """A running system and the processes it is made of."""

    served: Served
    supervisor: subprocess.Popen[bytes]

    @property
    def base(self) -> str:
        return self.served.base

    def log(self) -> str:
        return tail(self.served.log, 10**7)

    def torchserve(self) -> int:
        return self._told("TorchServe")

    def wrapper(self) -> int:
        return self._told("the wrapper")

    def workers(self) -> List[int]:
        """Process ids of TorchServe's Python workers, by the process group that they share with it."""
        group = self.torchserve()
        found = []
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and int(process.name) != group:
                try:
                    fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
                except OSError:
                    continue
                if int(fields[2]) == group and fields[0] != "Z":
                    found.append(int(process.name))
        return found

    def processes(self) -> List[int]:
        return [self.supervisor.pid, self.torchserve(), self.wrapper(), *self.workers()]

    def predict(self, seconds: float = 0.0) -> tuple[int, Any]:
        body = json.dumps({"instances": [seconds]}).encode()
        return self.served.exchange("/v1/models/obedient:predict", body)

    def ready(self) -> bool:
        return bool(self.served.raw("/v2/health/ready")[0] == 200)

    def _told(self, name: str) -> int:
        match = re.search(rf"supervisor: {name} is process (\d+)", self.log())
        assert match is not None, self.log()
        return int(match.group(1))


@contextmanager
def system(
    store: Path,
    folder: Path,
    settings: Mapping[str, str],
    options: Sequence[str] = (),
    environ: Optional[Mapping[str, str]] = None,
) -> Iterator[System]:
    """Run one until the block ends.

    Args:
        store: a folder that ``build`` filled.
        folder: private, for configuration and log.
        settings: properties beside the addresses.
    """
    config = folder / "config.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    http_port, grpc_port = free_port(), free_port()
    served = Served(f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", folder / "log")
    with supervised(
        store, served.log, http_port, grpc_port, environ=environ, config=config, options=options
    ) as process:
        yield System(served, process)


def until(condition: Callable[[], bool], what: str, limit: float = PATIENCE) -> float:
    """Waits for it; seconds that it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < limit, f"{what}: not within {limit:g} s"
        time.sleep(0.05)
    return time.monotonic() - begun


def gone(processes: Sequence[int]) -> bool:
    """None of them runs; a zombie that waits for its parent does not."""
    for process in processes:
        try:
            if Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                return False
        except OSError:
            continue
    return True


def end(processes: Sequence[int]) -> None:
    """Kills what a failed test left."""
    for process in processes:
        try:
            os.kill(process, 9)
        except OSError:
            continue
