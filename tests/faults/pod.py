"""A pod as Kubernetes would run it: supervisor, TorchServe, its workers and the wrapper, and means to harm each."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

from kserve_wrapper.core.sockets import free_port
from scripts.serving import free_ports, supervised

#: Seconds within which a thing that takes a moment on a quiet machine has to have happened on a slow one.
PATIENCE = 40.0


@dataclass(frozen=True)
class Pod:
    """A running pod."""

    http_port: int
    grpc_port: int
    log: Path
    supervisor: Popen[bytes]
    management: str
    inference: str

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def torchserve(self) -> int:
        return self._process("TorchServe")

    @property
    def wrapper(self) -> int:
        return self._process("the wrapper")

    def _process(self, name: str) -> int:
        found = re.findall(rf"{name} is process (\d+)", self.text())
        return int(found[-1])

    def text(self) -> str:
        """The log of all processes so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def workers(self, model: str) -> list[int]:
        """Process ids of a model's workers: those that run in its unpacked archive."""
        marks = {"mnist": "mnist_cnn.pt", "faulty": "faulty_handler.py"}
        return [pid for pid in descendants(self.torchserve) if _runs_in(pid, marks[model])]

    def status(self, path: str, timeout: float = 10.0) -> int:
        """The status of a GET; 0 where no answer comes."""
        try:
            with urllib.request.urlopen(self.base + path, timeout=timeout) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def ready(self) -> bool:
        return self.status("/v2/health/ready") == 200

    def key(self, purpose: str) -> str:
        """TorchServe's key for a purpose, from its key file."""
        keys = json.loads((Path(os.readlink(f"/proc/{self.torchserve}/cwd")) / "key_file.json").read_text())
        return str(keys[purpose]["key"])

    def manage(self, method: str, path: str, timeout: float = 60.0) -> Any:
        """A call of TorchServe's management address, around the wrapper, as an operator does."""
        headers = {"Authorization": f"Bearer {self.key('management')}"}
        request = urllib.request.Request(self.management + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return json.load(response)


@contextmanager
def pod(
    store: Path,
    folder: Path,
    models: Sequence[str] = ("mnist", "faulty"),
    workers: int = 1,
    response_timeout: int = 120,
    settings: Optional[Mapping[str, str]] = None,
    wrapper: Sequence[str] = (),
    options: Sequence[str] = (),
    environ: Optional[Mapping[str, str]] = None,
) -> Iterator[Pod]:
    """Run a pod until the block ends.

    Args:
        store: with the archives of ``models``.
        folder: private; gets the log and is every process's TEMP.
        workers: of each model.
        response_timeout: TorchServe's, seconds.
        settings: further properties of config.properties.
        wrapper: further flags of the wrapper.
        options: further flags of the supervisor.
    """
    folder.mkdir(parents=True, exist_ok=True)
    addresses = free_ports()
    ports = free_port(), free_port()
    chosen = {**addresses, "model_snapshot": snapshot(models, workers, response_timeout), **(settings or {})}
    log = folder / "pod.log"
    private = {"TEMP": str(folder), "TMPDIR": str(folder), **(environ or {})}
    with supervised(store, log, *ports, chosen, wrapper, private, options=options) as process:
        yield Pod(*ports, log, process, addresses["management_address"], addresses["inference_address"])


def snapshot(models: Sequence[str], workers: int, response_timeout: int) -> str:
    """The property model_snapshot."""
    shared = {"defaultVersion": True, "minWorkers": workers, "maxWorkers": workers, "batchSize": 1}
    timed = {**shared, "maxBatchDelay": 10, "responseTimeout": response_timeout}
    described = {model: {"1.0": {**timed, "marName": f"{model}.mar"}} for model in models}
    return json.dumps({"name": "startup.cfg", "modelCount": len(models), "models": described})


def until(happened: Callable[[], bool], what: str, limit: float = PATIENCE, pause: float = 0.05) -> float:
    """Wait until something happens; the seconds that it took. Fails after ``limit``."""
    started = time.monotonic()
    while not happened():
        assert time.monotonic() - started < limit, f"not within {limit:g} s: {what}"
        time.sleep(pause)
    return time.monotonic() - started


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    os.kill(pid, number)


def exists(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Process ids of children, grandchildren and so on."""
    children = [int(text) for path in Path(f"/proc/{pid}/task").glob("*/children") for text in _read(path).split()]
    return [one for child in children for one in (child, *descendants(child))]


def resident(pid: int) -> int:
    """Bytes of memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", _read(Path(f"/proc/{pid}/status")))
    return int(found[1]) * 1024 if found else 0


def descriptors(pid: int) -> int:
    """Open file descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _runs_in(pid: int, mark: str) -> bool:
    try:
        return (Path(os.readlink(f"/proc/{pid}/cwd")) / mark).exists()
    except OSError:
        return False
