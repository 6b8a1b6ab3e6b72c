"""Whether the models that ``model_snapshot`` names are there, and are what it says."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, Iterator, List, Mapping, Optional, Set

from kserve_wrapper.modelstore.findings import Finding, error, warning
from kserve_wrapper.modelstore.model_config import check_archive
from kserve_wrapper.modelstore.trial import START_LIMIT, start_limit
from kserve_wrapper.torchserve import archive, snapshot

#: What TorchServe reads of each version without asking whether it is there.
_REQUIRED: Mapping[str, Any] = {
    "defaultVersion": True,
    "minWorkers": 1,
    "maxWorkers": 1,
    "batchSize": 1,
    "maxBatchDelay": 10,
}
_OPTIONAL = ("marName", "responseTimeout", "startupTimeout", "runtimeType")


class SnapshotCheck:
    """Checks one snapshot against one model store.

    Args:
        file: config.properties.
        line: the line of ``model_snapshot``.
        text: its value.
        store: the directory of the archives.
        shared: inference and management have one address.
        envelope: ``service_envelope`` as configured.
    """

    def __init__(
        self,
        file: Path,
        line: Optional[int],
        text: str,
        store: Path,
        shared: bool = False,
        envelope: Optional[str] = None,
    ) -> None:
        self._shared = shared
        self._envelope = envelope
        self._file = file
        self._line = line
        self._text = text
        self._store = store
        self._used: Set[str] = set()

    def findings(self) -> List[Finding]:
        try:
            snapshot.parse(self._text, 120)
        except ValueError as problem:
            return [self._error(f"model_snapshot {problem}", f"Write it like {EXAMPLE}")]
        value = json.loads(self._text)
        return [*self._counted(value), *self._models(value["models"]), *self._unused()]

    def _counted(self, value: Mapping[str, Any]) -> Iterator[Finding]:
        count, models = value.get("modelCount"), value["models"]
        if not models:
            yield self._error("model_snapshot names no model, so none is served", f"Write it like {EXAMPLE}")
        elif isinstance(count, bool) or not isinstance(count, int) or count < 1:
            yield self._error(
                f'"modelCount" is {json.dumps(count)}, so TorchServe loads no model at all',
                f'Write "modelCount":{len(models)}',
            )
        elif count != len(models):
            yield self._warning(
                f'"modelCount" is {count} and there are {len(models)} models',
                f'Write "modelCount":{len(models)}',
            )

    def _models(self, models: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[Finding]:
        for name, versions in models.items():
            if not fits_url(name):
                yield self._error(
                    f'the model name "{name}" does not fit into a URL',
                    "Use letters of any script, digits, '.', '_' and '-'",
                )
            yield from self._default(name, versions)
            if self._shared and len(versions) > 1:
                yield self._warning(
                    f"models.{name} has {len(versions)} versions, and at an address that inference shares TorchServe "
                    "does not tell about any but the default one",
                    "Write management_address=http://127.0.0.1:8086",
                )
            for version, fields in versions.items():
                yield from self._fields(f"models.{name}.{version}", fields)
                yield from self._archive(name, version, fields)

    def _default(self, name: str, versions: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
        defaults = [version for version, fields in versions.items() if fields.get("defaultVersion") is True]
        if len(defaults) != 1:
            found = "none" if not defaults else " and ".join(defaults)
            yield self._error(
                f"models.{name} must have one default version and has {found}",
                'Write "defaultVersion":true at one version and false at the others',
            )

    def _fields(self, where: str, fields: Mapping[str, Any]) -> Iterator[Finding]:
        known = (*_REQUIRED, *_OPTIONAL)
        for key in fields:
            meant = difflib.get_close_matches(key, known, 1, 0.85)
            if key not in known and meant:
                problem = f'{where} has "{key}", which TorchServe does not know'
                yield self._warning(problem, f'Did you mean "{meant[0]}"')
        for key, usual in _REQUIRED.items():
            if key not in fields:
                yield self._error(
                    f'{where} lacks "{key}", which TorchServe cannot do without',
                    f'Write "{key}":{json.dumps(usual)}',
                )
        minimum, maximum = fields.get("minWorkers", 1), fields.get("maxWorkers", 1)
        if minimum < 1:
            yield self._error(f"{where} starts no worker, so the model is never ready", 'Write "minWorkers":1 or more')
        elif maximum < minimum:
            yield self._error(
                f"{where} has maxWorkers {maximum} below minWorkers {minimum}",
                f'Write "maxWorkers":{minimum}',
            )
        if fields.get("batchSize", 1) > 1:
            yield self._warning(
                f"{where} has batchSize {fields['batchSize']}: TorchServe waits out maxBatchDelay, "
                "and its stock envelopes answer only the first request of such a batch",
                'Write "batchSize":1; the wrapper puts the rows of many clients into one request',
            )

    def _archive(self, name: str, version: str, fields: Mapping[str, Any]) -> Iterator[Finding]:
        mar = fields["marName"]
        self._used.add(mar)
        path = self._store / mar
        if not path.exists():
            yield self._error(f"models.{name}.{version} needs {mar}, which is not in {self._store}", self._nearest(mar))
            return
        if path.is_dir():
            return  # An unpacked archive, which TorchServe takes too.
        try:
            found = archive.read(path)
        except archive.ArchiveError as problem:
            yield error(path, None, f"{mar} {problem}", "Then copy it here again")
            return
        if found.version != version:
            yield self._error(
                f"the version of {name} is {version} here and {found.version} in {mar}, which is served",
                f'Write "{found.version}", or build the archive with --version {version}',
            )
        seconds = start_limit(found)
        if seconds != START_LIMIT and "startupTimeout" not in fields:
            yield self._warning(
                f"{mar} has startupTimeout: {seconds:g} in {found.config_file}, which TorchServe passes over where a "
                f"snapshot restores the model: it has {START_LIMIT} s to load in",
                f'Write "startupTimeout":{seconds:g} at models.{name}.{version}',
            )
        yield from check_archive(found, self._envelope)

    def _nearest(self, mar: str) -> str:
        present = ", ".join(sorted(path.name for path in self._store.glob("*.mar"))) or "no archive at all"
        return f"Copy {mar} there, or name one that is there: {present}"

    def _unused(self) -> Iterator[Finding]:
        for path in sorted(self._store.glob("*.mar")):
            if path.name not in self._used:
                yield warning(
                    path,
                    None,
                    f"{path.name} is in no snapshot entry, so it is not loaded",
                    f"Add it to model_snapshot in {self._file}, or take it away",
                )

    def _error(self, problem: str, remedy: str) -> Finding:
        return error(self._file, self._line, problem, remedy)

    def _warning(self, problem: str, remedy: str) -> Finding:
        return warning(self._file, self._line, problem, remedy)


def fits_url(name: str) -> bool:
    """Whether a name can be one segment of a path; what is not ASCII goes there percent-encoded."""
    return name.isprintable() and name not in ("", ".", "..") and "/" not in name and "\\" not in name


EXAMPLE = (
    'model_snapshot={"name":"startup.cfg","modelCount":1,"models":{"mnist":{"1.0":{"defaultVersion":true,'
    '"marName":"mnist.mar","minWorkers":1,"maxWorkers":5,"batchSize":1,"maxBatchDelay":10,"responseTimeout":120}}}}'
)
