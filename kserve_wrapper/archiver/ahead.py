"""Compiles an archive's model ahead, in a process of its own, and packs what comes of it beside the weights.

The handler base ``mnist_handler`` does the compiling, since it alone knows the model's inputs; the archive's own copy
of it where that has one, so that what compiles is what loads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict

from kserve_wrapper.archiver.description import BuildError
from kserve_wrapper.torchserve import archive as archives
from kserve_wrapper.torchserve import load_log

#: What may be compiled for: x86-64-v3 is any processor with AVX2, native that of this machine.
BASELINE, NATIVE = "x86-64-v3", "native"
#: The package's name in an archive, as the handler base looks for it.
PACKAGE = "compiled.pt2"
WORKER = Path(__file__).with_name("ahead_worker.py")
#: Seconds that a large model may take.
LIMIT = 1800


def pack_compiled(mar: Path, instructions: str, tell: Callable[[str], None]) -> bool:
    """Add the compiled model to an archive whose handler is built on ``mnist_handler``; whether it was.

    Args:
        tell: called with one line: that it was compiled, or why not, in which case the worker compiles or runs eager.

    Raises:
        BuildError: the compiled model answers otherwise than eager, or compiling took too long.
    """
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ts-kserve-compile-") as scratch_name:
        scratch = Path(scratch_name).resolve()
        result = _compile(mar, instructions, scratch)
        if "mismatch" in result:
            raise BuildError(
                f"the model compiled ahead does not answer as eager: {result['mismatch']}. Build with --no-compile, or "
                "mend the model: one that branches on values, or is random, cannot be compiled"
            )
        if "reason" in result:
            tell(f"not compiled ahead: {result['reason']}")
            return False
        with zipfile.ZipFile(mar, "a", zipfile.ZIP_DEFLATED) as packed:
            packed.write(scratch / PACKAGE, PACKAGE)
    tell(f"compiled ahead for {instructions} in {time.monotonic() - begin:.0f} s")
    return True


def _compile(mar: Path, instructions: str, scratch: Path) -> Dict[str, Any]:
    """What the process wrote: nothing, why there is no package, or where the answers differ."""
    found = archives.read(mar)
    directory, result, log = scratch / "model", scratch / "result.json", scratch / "log"
    archives.unpack(mar, directory)
    job = {
        "name": found.name,
        "directory": str(directory),
        "handler": found.handler,
        "instructions": instructions,
        "target": str(scratch / PACKAGE),
        "result": str(result),
    }
    (scratch / "job.json").write_text(json.dumps(job), encoding="utf-8")
    with log.open("wb") as output:
        status = _run(scratch / "job.json", directory, output)
    if result.is_file():
        made: Dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return made
    printed = log.read_text(encoding="utf-8", errors="replace").splitlines()
    cause = load_log.failure(printed, status)
    return {"reason": cause[0] if cause else f"its process ended: {(printed or ['without a word'])[-1][:200]}"}


def _run(job: Path, directory: Path, output: Any) -> int:
    """The exit status."""
    path = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), str(directory)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"}
    # A GPU is neither needed nor what packages are for.
    environ["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, str(WORKER), str(job)]
    options: Dict[str, Any] = {"cwd": directory, "env": environ, "stdin": subprocess.DEVNULL, "stdout": output}
    try:
        return subprocess.run(command, stderr=subprocess.STDOUT, timeout=LIMIT, check=False, **options).returncode
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"compiling ahead took more than {LIMIT} s. Build with --no-compile") from error
