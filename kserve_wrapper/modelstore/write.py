"""Writes a model directory out of model archives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Sequence

from kserve_wrapper.modelstore.check import CONFIG, MOUNT, STORE
from kserve_wrapper.modelstore.content import ENVELOPE_OF
from kserve_wrapper.modelstore.trial import START_LIMIT, start_limit
from kserve_wrapper.torchserve import archive, properties

#: The document's properties, in its order, and below them what a pod needs beside.
_PROPERTIES = f"""\
# The wrapper stands in the same container, so nothing else needs to reach these two. Management has an address of
# its own: at a shared one TorchServe takes /models/NAME/VERSION for an inference request and answers 404.
inference_address=http://127.0.0.1:8085
management_address=http://127.0.0.1:8086
metrics_address=http://0.0.0.0:8082
grpc_inference_port=7070
grpc_management_port=7071
enable_metrics_api=true
metrics_format=prometheus
number_of_netty_threads=4
job_queue_size=10
enable_envvars_config=true
install_py_dep_per_model=true
model_store={MOUNT}/{STORE}
"""
_ADDED = """\
# metrics_format has no effect since TorchServe 0.8; this does what it did.
metrics_mode=prometheus
# For handlers without an envelope of their own. KServe's TS_SERVICE_ENVELOPE beats it.
service_envelope={envelope}
# Keys would guard two addresses that only this container reaches; the stock wrapper cannot send them.
disable_token_authorization=true
"""


class WriteError(Exception):
    """The directory cannot be written; the message says why and what to do."""


def write(directory: Path, mars: Sequence[Path], protocol: str = "v1", workers: int = 1) -> None:
    """Write ``config/config.properties`` and ``model-store/*.mar``.

    Each model has the name and version of its archive's manifest; of several versions the last one given is
    the default. Archives that lie in the directory already stay there; the configuration is written last.

    Args:
        directory: where to write.
        mars: the archives; at least one.
        protocol: v1, v2 or grpc-v2.
        workers: processes that each model starts with; up to 5 by the management address, as in the document.

    Raises:
        WriteError: no archive, an unreadable one, or two with one name.
        OSError: the directory cannot be written.
    """
    snapshot = _snapshot(_archives(mars), workers)
    (directory / CONFIG).parent.mkdir(parents=True, exist_ok=True)
    (directory / STORE).mkdir(exist_ok=True)
    for mar in mars:
        target = directory / STORE / mar.name
        if not (target.exists() and target.samefile(mar)):
            _replace(target, mar.read_bytes())
    text = properties.derive(_PROPERTIES, {"model_snapshot": json.dumps(snapshot, separators=(",", ":"))})
    _replace(directory / CONFIG, (text + _ADDED.format(envelope=ENVELOPE_OF[protocol])).encode("latin-1"))


def snapshot_of(mars: Sequence[Path], workers: int = 1) -> str:
    """The property ``model_snapshot`` for these archives. Raises WriteError."""
    return json.dumps(_snapshot(_archives(mars), workers), separators=(",", ":"))


def _replace(target: Path, content: bytes) -> None:
    """Whole or not at all: a reader never sees half a file."""
    new = target.with_name(target.name + ".new")
    new.write_bytes(content)
    new.replace(target)


def _archives(mars: Sequence[Path]) -> List[archive.Archive]:
    if not mars:
        raise WriteError("no archive is given. Name one or more .mar files.")
    seen: Dict[str, Path] = {}
    found = []
    for mar in mars:
        try:
            model = archive.read(mar)
        except archive.ArchiveError as problem:
            raise WriteError(f"{mar} {problem}.") from None
        renamed = mar.with_name(f"{mar.stem}-{model.version}{mar.suffix}")
        remedies = {
            mar.name: f"Rename one, its model keeps its name: mv {mar} {renamed}",
            f"{model.name} {model.version}": "Build one of them with another --version",
        }
        for key, remedy in remedies.items():
            if key in seen:
                raise WriteError(f"{seen[key]} and {mar} are both {key}. {remedy}.")
            seen[key] = mar
        found.append(model)
    return found


def _snapshot(models: Sequence[archive.Archive], workers: int) -> Dict[str, Any]:
    names: Dict[str, Dict[str, Any]] = {}
    for model in models:
        versions = names.setdefault(model.name, {})
        for fields in versions.values():
            fields["defaultVersion"] = False
        versions[model.version] = {
            "defaultVersion": True,
            "marName": model.path.name,
            "minWorkers": workers,
            "maxWorkers": max(workers, 5),
            "batchSize": 1,
            "maxBatchDelay": 10,
            "responseTimeout": 120,
            **_startup(model),
        }
    return {"name": "startup.cfg", "modelCount": len(names), "models": names}


def _startup(model: archive.Archive) -> Dict[str, int]:
    """Of a model that asks for another time to load in: with a snapshot TorchServe does not look into the archive."""
    limit = start_limit(model)
    return {} if limit == START_LIMIT else {"startupTimeout": int(limit)}
