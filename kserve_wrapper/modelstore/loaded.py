"""What ``load_models`` loads where there is no snapshot, and what the property ``models`` says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping

from kserve_wrapper.modelstore.findings import Finding, error, warning
from kserve_wrapper.modelstore.model_config import check_archive
from kserve_wrapper.modelstore.places import place, value
from kserve_wrapper.torchserve import archive
from kserve_wrapper.torchserve.archive import Archive, ArchiveError
from kserve_wrapper.torchserve.config import Setting, load_models


def check_loaded(file: Path, settings: Mapping[str, Setting], store: Path) -> Iterator[Finding]:
    """Findings about the archives that ``load_models`` names, and about their default versions."""
    found: List[Archive] = []
    for path in _archives(settings, store):
        try:
            found.append(archive.read(path))
        except ArchiveError as problem:
            yield error(path, None, f"{path.name} {problem}", "Then copy it here again")
    for each in found:
        yield from check_archive(each, value(settings, "service_envelope") or None)
    if "models" in settings:
        yield from _defaults(file, settings["models"], found)


def _archives(settings: Mapping[str, Setting], store: Path) -> List[Path]:
    names = load_models(settings)
    if names is None:
        return sorted(store.glob("*.mar"))
    return [store / name for name in names if (store / name).is_file()]


def _defaults(file: Path, setting: Setting, found: List[Archive]) -> Iterator[Finding]:
    """TorchServe reads workers and batches of ``models``, and no default version."""
    try:
        models = json.loads(setting.value)
    except ValueError:
        yield warning(
            *place(file, setting), "models is not JSON, so TorchServe ignores it", 'Write {"NAME":{"1.0":{…}}}'
        )
        return
    versions: Dict[str, List[str]] = {}
    for each in found:
        versions.setdefault(each.name, []).append(each.version)
    for name, described in (models if isinstance(models, dict) else {}).items():
        for version in _marked(described):
            if len(versions.get(name, [])) > 1:
                yield error(
                    *place(file, setting),
                    f"models.{name}.{version} has defaultVersion, which TorchServe does not read: of "
                    f"{', '.join(versions[name])} the one that it happens to load first or last is the default",
                    "Write model_snapshot in place of load_models and models; `modelstore write` makes one",
                )


def _marked(described: Any) -> List[str]:
    items = described.items() if isinstance(described, dict) else ()
    return [version for version, fields in items if isinstance(fields, dict) and fields.get("defaultVersion") is True]
