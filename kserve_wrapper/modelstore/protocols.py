"""Which protocol a model answers whose handler is not on this project's base: that of TorchServe's envelope alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator, Optional

from kserve_wrapper.modelstore.findings import Finding, warning
from kserve_wrapper.torchserve.archive import BUILTIN_HANDLERS, Archive, ArchiveError, read
from kserve_wrapper.upstream.envelopes import READS, V2

#: The handler base of this project.
BASE = "mnist_handler"
_IMPORTS = re.compile(rf"^\s*(from|import)\s+{BASE}\b", re.MULTILINE)


def on_base(archive: Archive) -> bool:
    """Whether its handler is built on this project's base, which reads both protocols whatever the envelope."""
    if archive.handler is None or archive.handler in BUILTIN_HANDLERS:
        return False
    if f"{BASE}/__init__.py" in archive.members:
        return True
    return any(imports_base(archive.text(file) or "") for file in archive.members if file.endswith(".py"))


def imports_base(source: str) -> bool:
    """Whether Python code imports this project's base."""
    return _IMPORTS.search(source) is not None


def speaks(archive: Archive, envelope: Optional[str]) -> Optional[str]:
    """What it answers behind this envelope, for people; None where it answers all protocols or nobody can tell.

    Args:
        envelope: ``service_envelope`` as configured.
    """
    reads = None if on_base(archive) else READS.get(envelope or "")
    if reads is None:
        return None
    answers = "V2 and gRPC alone, and of a BYTES input its first element" if reads == V2 else "V1 alone"
    return (
        f"{archive.name} answers {answers}: its handler is not on this project's base ({BASE}), and before it is "
        f"TorchServe's envelope {envelope}"
    )


def findings(path: Path, envelope: Optional[str] = None) -> Iterator[Finding]:
    """A warning about an archive that answers one protocol.

    Args:
        path: of the archive; one that cannot be read is told elsewhere.
        envelope: ``service_envelope`` as configured; None where that is not known.
    """
    try:
        archive = read(path)
    except ArchiveError:
        return
    if archive.handler is None or on_base(archive):
        return
    problem = (
        speaks(archive, envelope)
        if envelope
        else (
            f"{archive.name} answers one protocol, V1 or V2, as its service says: its handler is not on this project's "
            f"base ({BASE})"
        )
    )
    if problem is not None:
        remedy = "Choose it by --protocol of ts-kserve manifests (protocolVersion), and send that alone"
        yield warning(path, None, problem, remedy)
