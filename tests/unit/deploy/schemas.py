"""KServe's CRD schemas, for the manifests of the tests."""

from __future__ import annotations

from pathlib import Path

from scripts.manifests import schemas
from tests.unit.deploy.manifests import Manifest

directory = schemas.directory


def problems(manifest: Manifest, place: Path) -> list[str]:
    """What the schema of the manifest's kind and version has against it."""
    return schemas.problems(manifest.value, place)
