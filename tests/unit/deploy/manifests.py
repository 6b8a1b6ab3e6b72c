"""All Kubernetes objects of config/, with the file that each stands in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import yaml

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "config"
RUNTIMES = ("ServingRuntime", "ClusterServingRuntime")


@dataclass(frozen=True)
class Manifest:
    file: Path
    value: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.value["kind"])

    @property
    def name(self) -> str:
        return str(self.value["metadata"]["name"])

    def __str__(self) -> str:
        return f"{self.file.relative_to(CONFIG)}:{self.kind}"


def read(file: Path) -> list[Manifest]:
    return [Manifest(file, value) for value in yaml.safe_load_all(file.read_text(encoding="utf-8")) if value]


def everything() -> list[Manifest]:
    files = sorted([*(CONFIG / "kserve").glob("*.yaml"), *(CONFIG / "runtime").glob("*.yaml")])
    return [manifest for file in files for manifest in read(file)]


def of_kind(*kinds: str) -> list[Manifest]:
    return [manifest for manifest in everything() if manifest.kind in kinds]


def containers(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Every container that runs this project's wrapper or the stock one."""
    spec = manifest.value["spec"]
    if manifest.kind in RUNTIMES:
        yield from spec["containers"]
    elif manifest.kind == "InferenceService":
        yield spec["predictor"]["model"]
