"""Building an archive that is seen to load before it gets its place."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from kserve_wrapper.archiver.build import build
from kserve_wrapper.archiver.description import BuildError
from kserve_wrapper.modelstore import trial
from kserve_wrapper.modelstore.findings import Finding, Severity
from kserve_wrapper.modelstore.single import check_mar
from kserve_wrapper.torchserve import archive, load_log

#: A request in a model's folder, V1 or V2, that the check sends and that people may try.
EXAMPLE = "example.json"


def build_checked(
    folder: Path,
    out: Path,
    version: Optional[str] = None,
    warn: Optional[Callable[[str], None]] = None,
    instructions: Optional[str] = None,
) -> Path:
    """As :func:`build`; the archive is read, loaded once, and asked the folder's ``example.json`` first.

    Raises:
        BuildError: see the message.
    """

    def accept(made: Path) -> None:
        findings = check_mar(made, load=True, request=example(folder))
        place = out / made.name
        shown = [dataclasses.replace(one, file=place) if one.file == made else one for one in findings]
        _judge(shown, warn)

    return build(folder, out, version, warn, accept, instructions)


def _judge(findings: List[Finding], warn: Optional[Callable[[str], None]]) -> None:
    for finding in findings:
        if finding.severity is Severity.WARNING and warn is not None:
            warn(f"{finding.problem}. {finding.remedy}.")
    wrong = [finding for finding in findings if finding.severity is Severity.ERROR]
    if wrong:
        raise BuildError("\n".join(f"{finding.file.name}: {finding.problem}. {finding.remedy}." for finding in wrong))


def ask(folder: Path, *requests: Mapping[str, Any]) -> List[Tuple[int, Any]]:
    """Status and answer of each request, from the model in ``folder`` as TorchServe would load it.

    Its archive is built and loaded in scratch places. This is what a model's own test asks.

    Args:
        requests: V1 or V2.

    Raises:
        BuildError: the archive cannot be built, or does not load; the message has the cause in one line.
    """
    with tempfile.TemporaryDirectory(prefix="ts-kserve-ask-") as scratch:
        found = archive.read(build(folder, Path(scratch)))
        ran = trial.run(found, requests)
    if not ran.loaded or len(ran.answers) < len(requests):
        ended = f"the process ended with status {ran.ended}"
        cause, remedy = load_log.failure(ran.printed, ran.ended) or (ended, "Mend it")
        raise BuildError(f"{folder.name}: {cause}. {remedy}.")
    return [(status, json.loads(answer)) for status, answer in ran.answers]


def example(folder: Path) -> Optional[Dict[str, Any]]:
    """The folder's example request; None where there is none.

    Raises:
        BuildError: it is no JSON object.
    """
    path = folder / EXAMPLE
    if not path.is_file():
        return None
    return read_request(path)


def read_request(path: Path) -> Dict[str, Any]:
    """A request in a file. Raises BuildError."""
    try:
        request = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise BuildError(f"{path} is no request: {error}") from error
    if not isinstance(request, dict) or not {"instances", "inputs"} & request.keys():
        raise BuildError(f'{path} is no request: it must hold an object with "instances" (V1) or "inputs" (V2)')
    return request
