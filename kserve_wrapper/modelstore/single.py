"""The check of one archive by itself: read, and on request loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping, Optional

from kserve_wrapper.modelstore import trial
from kserve_wrapper.modelstore.findings import Finding, error, failed
from kserve_wrapper.modelstore.model_config import check_archive
from kserve_wrapper.torchserve import archive


def check_mar(
    path: Path, load: bool = False, request: Optional[Mapping[str, Any]] = None, envelope: Optional[str] = None
) -> List[Finding]:
    """All findings about the archive at ``path``.

    Args:
        load: also load it once in a process of its own and ask it one row, which runs its code.
        request: the row to ask, V1 or V2; else one is made up where the handler has metadata.
        envelope: ``service_envelope`` as configured, for handlers that bring none.
    """
    try:
        found = archive.read(path)
    except archive.ArchiveError as problem:
        return [error(path, None, f"{path.name} {problem}", "Then check it again")]
    findings = list(check_archive(found, envelope))
    if load and found.handler and not failed(findings):
        findings += trial.check_load(found, request, envelope)
    return findings
