"""The supervisor as a child process: what `make serve`, `make demo` and the serving tests start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Iterator, Mapping, Optional, Sequence

from kserve_wrapper.core.probe import answers
from kserve_wrapper.core.sockets import free_port

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config" / "config.properties"
#: Seconds for TorchServe and its worker to come up; a cold disk is slow.
START_LIMIT = 180.0
STOP_LIMIT = 40.0


class DidNotStart(Exception):
    """The supervisor ended, or readiness never came; the message has the end of its log."""


def build_archive(store: Path, model: str = "mnist", quiet: bool = False) -> None:
    """Build ``model``'s archive into ``store``.

    Raises:
        CalledProcessError: it could not be built; its output was shown or, if ``quiet``, is the error's ``output``.
    """
    command = [sys.executable, str(ROOT / "model-archiver" / "build_mar.py"), "--model", model, "--out", str(store)]
    # Whoever builds one here serves it next, which tells what a check would, and waits for it.
    command += ["--no-check", "--no-compile"]
    output, errors = (subprocess.PIPE, subprocess.STDOUT) if quiet else (None, None)
    subprocess.run(command, check=True, cwd=ROOT, stdout=output, stderr=errors, text=True)


def supervisor_command(
    store: Path,
    settings: Mapping[str, str],
    wrapper: Sequence[str],
    config: Path = CONFIG,
    options: Sequence[str] = (),
) -> list[str]:
    """The supervisor's command line; ``settings`` are properties of config.properties, ``wrapper`` its flags."""
    pairs = [item for key, value in settings.items() for item in ("--set", f"{key}={value}")]
    serve = ["torchserve", "--start", f"--ts-config={config}", f"--model-store={store}"]
    return [sys.executable, "-m", "kserve_wrapper.supervisor", *options, *pairs, *serve, "--", *wrapper]


def free_ports() -> dict[str, str]:
    """Properties that put each of TorchServe's addresses on a free loopback port."""
    settings = {
        f"{purpose}_address": f"http://127.0.0.1:{free_port()}" for purpose in ("inference", "management", "metrics")
    }
    settings.update({key: str(free_port()) for key in ("grpc_inference_port", "grpc_management_port")})
    return settings


def wait_ready(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the wrapper calls every model ready."""
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end and process.poll() is None:
        if answers(f"{base}/v2/health/ready"):
            return
        time.sleep(0.2)
    state = "did not become ready" if process.poll() is None else f"ended with status {process.returncode}"
    raise DidNotStart(f"the supervisor {state}; the end of its log, {log}:\n{tail(log)}")


def tail(log: Path, characters: int = 6000) -> str:
    """The end of a log."""
    return log.read_text(encoding="utf-8", errors="replace")[-characters:]


@contextmanager
def supervised(
    store: Path,
    log: Path,
    http_port: int,
    grpc_port: int,
    settings: Optional[Mapping[str, str]] = None,
    wrapper: Sequence[str] = (),
    environ: Optional[Mapping[str, str]] = None,
    config: Path = CONFIG,
    options: Sequence[str] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run TorchServe and wrapper on loopback until the block ends.

    Raises:
        DidNotStart: see there.
    """
    flags = ["--http_port", str(http_port), "--grpc_port", str(grpc_port), *wrapper]
    command = supervisor_command(store, {**free_ports(), **(settings or {})}, flags, config, options)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = _start(command, output, environ)
    try:
        wait_ready(f"http://127.0.0.1:{http_port}", process, log)
        yield process
    finally:
        stop(process)


def _start(command: list[str], output: IO[bytes], environ: Optional[Mapping[str, str]]) -> subprocess.Popen[bytes]:
    plain = {key: value for key, value in os.environ.items() if not key.startswith("TS_")}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**plain, **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def stop(process: subprocess.Popen[Any]) -> None:
    """Ask the supervisor, or another command, to end with all that it started; it is killed where it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
