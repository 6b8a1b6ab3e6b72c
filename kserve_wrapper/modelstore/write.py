"""Writes a model directory out of model archives."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

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
#: What of a version does not go into a file's name.
_UNFIT = re.compile(r"[^\w.-]")


class WriteError(Exception):
    """The directory cannot be written; the message says why and what to do."""


def write(directory: Path, mars: Sequence[Path], protocol: str = "v1", workers: int = 1) -> None:
    """Write ``config/config.properties`` and ``model-store/*.mar``.

    Each model has the name and version of its archive's manifest; of several versions the last one given is
    the default. Archives that lie in the directory already stay there; the configuration is written last. Of several
    archives with one file name, all but one get the version into it.

    Args:
        directory: where to write.
        mars: the archives; at least one.
        protocol: v1, v2 or grpc-v2.
        workers: processes that each model starts with; up to 5 by the management address, as in the document.

    Raises:
        WriteError: no archive, an unreadable one, or two of one model and version.
        OSError: the directory cannot be written.
    """
    models = _archives(mars)
    files = file_names(models, directory / STORE)
    snapshot = _snapshot(models, files, workers)
    (directory / CONFIG).parent.mkdir(parents=True, exist_ok=True)
    (directory / STORE).mkdir(exist_ok=True)
    for mar, file in zip(mars, files):
        target = directory / STORE / file
        if not (target.exists() and target.samefile(mar)):
            _replace(target, mar.read_bytes())
    text = properties.derive(_PROPERTIES, {"model_snapshot": json.dumps(snapshot, separators=(",", ":"))})
    _replace(directory / CONFIG, (text + _ADDED.format(envelope=ENVELOPE_OF[protocol])).encode("latin-1"))


def snapshot_of(mars: Sequence[Path], workers: int = 1) -> str:
    """The property ``model_snapshot`` for these archives, as :func:`write` puts them into a new directory.

    Raises:
        WriteError: as there.
    """
    models = _archives(mars)
    return json.dumps(_snapshot(models, file_names(models), workers), separators=(",", ":"))


def file_names(models: Sequence[archive.Archive], store: Optional[Path] = None) -> List[str]:
    """Each archive's name in the store: its own, or NAME-VERSION.mar where another one there has that.

    Args:
        store: those that lie in it keep theirs.
    """
    names: Dict[int, str] = {}
    for index in sorted(range(len(models)), key=lambda index: not _lies_in(models[index].path, store)):
        path = models[index].path
        versioned = f"{path.stem}-{_UNFIT.sub('-', models[index].version)}"
        further = (f"{versioned}-{number}{path.suffix}" for number in itertools.count(2))
        candidates = itertools.chain((path.name, f"{versioned}{path.suffix}"), further)
        names[index] = next(name for name in candidates if name not in names.values())
    return [names[index] for index in range(len(models))]


def _lies_in(path: Path, store: Optional[Path]) -> bool:
    return store is not None and store.is_dir() and path.parent.samefile(store)


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
        key = f"{model.name} {model.version}"
        if key in seen:
            raise WriteError(f"{seen[key]} and {mar} are both {key}. Build one of them with another --version.")
        seen[key] = mar
        found.append(model)
    return found


def _snapshot(models: Sequence[archive.Archive], files: Sequence[str], workers: int) -> Dict[str, Any]:
    names: Dict[str, Dict[str, Any]] = {}
    for model, file in zip(models, files):
        versions = names.setdefault(model.name, {})
        for fields in versions.values():
            fields["defaultVersion"] = False
        versions[model.version] = {
            "defaultVersion": True,
            "marName": file,
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
