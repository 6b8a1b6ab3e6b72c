"""Loads an archive once in a process of its own, as TorchServe would, and asks it one row.

That runs the archive's code, with the rights of who asks for it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from kserve_wrapper.modelstore.findings import Finding, error, warning
from kserve_wrapper.torchserve import load_log
from kserve_wrapper.torchserve.archive import Archive, ArchiveError, unpack

WORKER = Path(__file__).with_name("trial_worker.py")
#: Seconds that TorchServe gives a worker to load its model in, unless startupTimeout says otherwise.
START_LIMIT = 120
#: Seconds beyond it for Python to start, and for the answer.
_SLACK = 60
#: Characters of an answer in a finding.
_SHOWN = 400
_REBUILD = "Mend it and build the archive again"


@dataclass(frozen=True)
class Trial:
    """What came of it.

    ``printed`` are the process's lines, ``answers`` status and body of each request that was asked.
    """

    ended: Optional[int]
    printed: List[str]
    seconds: Optional[float] = None
    metadata: Optional[Dict[str, Any]] = None
    answers: List[Tuple[int, str]] = field(default_factory=list)

    @property
    def loaded(self) -> bool:
        return self.seconds is not None


def missing() -> Optional[str]:
    """What must be installed for a trial and is not; None where nothing is."""
    return next((name for name in ("torch", "ts") if importlib.util.find_spec(name) is None), None)


def run(archive: Archive, requests: Sequence[Mapping[str, Any]] = (), envelope: Optional[str] = None) -> Trial:
    """Unpacks the archive to a scratch folder and loads it there.

    Args:
        archive: one that could be read, with a handler.
        requests: V1 or V2; without any, a row is made up where the handler has metadata.
        envelope: TorchServe's own, for handlers that bring none.

    Raises:
        ArchiveError: it cannot be unpacked.
    """
    with tempfile.TemporaryDirectory(prefix="ts-kserve-check-") as scratch_name:
        scratch = Path(scratch_name).resolve()
        directory, result, log = scratch / "model", scratch / "result.json", scratch / "log"
        unpack(archive.path, directory)
        job = {
            "name": archive.name,
            "directory": str(directory),
            "handler": archive.handler,
            "envelope": envelope,
            "requests": list(requests),
            "result": str(result),
        }
        (scratch / "job.json").write_text(json.dumps(job), encoding="utf-8")
        with log.open("wb") as output:
            ended = _process(scratch / "job.json", directory, output, start_limit(archive) + _SLACK)
        printed = log.read_text(encoding="utf-8", errors="replace").splitlines()
        found = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
        found["answers"] = [(status, answer) for status, answer in found.get("answers", [])]
        return Trial(ended, printed, **found)


def _process(job: Path, directory: Path, output: Any, limit: float) -> Optional[int]:
    """The exit status, or None where it had to be ended."""
    package = str(Path(__file__).resolve().parents[2])
    # As TorchServe has it: what was there, then the archive.
    path = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), str(directory), package]
    environ = {"PYTHONFAULTHANDLER": "1", **os.environ, "PYTHONPATH": os.pathsep.join(path)}
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, str(WORKER), str(job)]
    try:
        return subprocess.run(
            command,
            cwd=directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=limit,
        ).returncode
    except subprocess.TimeoutExpired:
        return None


def start_limit(archive: Archive) -> float:
    """Seconds that TorchServe gives this archive's worker to load it."""
    import yaml

    try:
        content = yaml.safe_load(archive.text(archive.config_file) or "") if archive.config_file else None
    except yaml.YAMLError:
        return START_LIMIT
    value = content.get("startupTimeout") if isinstance(content, Mapping) else None
    return float(value) if isinstance(value, (int, float)) and value > 0 else START_LIMIT


def check_load(
    archive: Archive, request: Optional[Mapping[str, Any]] = None, envelope: Optional[str] = None
) -> Iterator[Finding]:
    """What a trial finds: a load error in one line with its mend, a row that fails, a start that takes too long."""
    absent = missing()
    if absent is not None:
        problem = f"not loaded to see whether it works: {absent} is not installed for {sys.executable}"
        yield warning(archive.path, None, problem, "pip install 'ts-kserve-wrapper[serve]', or check it where it is")
        return
    try:
        trial = run(archive, [] if request is None else [request], envelope)
    except ArchiveError as cannot:
        yield error(archive.path, None, f"{archive.path.name} {cannot}", "Then check it again")
        return
    limit = start_limit(archive)
    if not trial.loaded:
        yield _load_failure(archive, trial, limit)
        return
    if trial.seconds is not None and trial.seconds > limit:
        yield _too_slow(archive, f"took {trial.seconds:.0f} s to load", limit)
    status, answer = trial.answers[0] if trial.answers else (0, "")
    if trial.ended != 0 or status >= 500:
        cause, remedy = load_log.failure(trial.printed, trial.ended) or (
            answer[:_SHOWN] or _ending(trial),
            _REBUILD,
        )
        yield error(archive.path, None, f"loads, and fails on the first row: {cause}", remedy)
    elif request is not None and status >= 400:
        problem = f"refuses the example request: {_words(answer)}"
        yield error(archive.path, None, problem, "Mend the request or the handler")


def _words(answer: str) -> str:
    """The message in a refusal."""
    with contextlib.suppress(ValueError):
        told = json.loads(answer)
        if isinstance(told, dict) and isinstance(told.get("error"), str):
            return str(told["error"])[:_SHOWN]
    return answer[:_SHOWN]


def _load_failure(archive: Archive, trial: Trial, limit: float) -> Finding:
    if trial.ended is None:
        return _too_slow(archive, f"has not loaded within {limit + _SLACK:.0f} s", limit)
    cause, remedy = load_log.failure(trial.printed, trial.ended) or (_ending(trial), _REBUILD)
    if archive.requirements_file and "ModuleNotFoundError" in cause:
        return warning(
            archive.path,
            None,
            f"does not load here: {cause}, which {archive.requirements_file} may bring where it is served",
            "Install it here to have the archive checked",
        )
    return error(archive.path, None, f"does not load: {cause}", remedy)


def _too_slow(archive: Archive, what: str, limit: float) -> Finding:
    return error(
        archive.path,
        None,
        f"{what}, and TorchServe ends its worker after {limit:.0f} s and begins again",
        "Raise startupTimeout in model-config.yaml (with a model_snapshot: there), or have handler.warm_up do less",
    )


def _ending(trial: Trial) -> str:
    said = next((line for line in reversed(trial.printed) if line.strip()), "it printed nothing")
    return f"its process ended with status {trial.ended} ({said.strip()[:200]})"
