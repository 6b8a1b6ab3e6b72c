"""What a model archive (.mar) says of itself, read without unpacking it."""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import FrozenSet, Optional

MANIFEST = "MAR-INF/MANIFEST.json"
#: TorchServe's own handlers, named without a file.
BUILTIN_HANDLERS = frozenset(
    {"image_classifier", "object_detector", "text_classifier", "image_segmenter", "base_handler"}
)
#: Where a manifest names no version, TorchServe takes this one.
DEFAULT_VERSION = "1.0"


#: Bytes of a member that is read as text.
_LONGEST = 1 << 20


class ArchiveError(Exception):
    """The file is no model archive; the message says why and what to do."""


@dataclass(frozen=True)
class Archive:
    """A MAR's manifest and the names of its members."""

    path: Path
    name: str
    version: str
    handler: Optional[str]
    serialized_file: Optional[str]
    members: FrozenSet[str]
    config_file: Optional[str] = None
    model_file: Optional[str] = None
    requirements_file: Optional[str] = None

    def text(self, member: str) -> Optional[str]:
        """A member's content; None where there is no such member, or it cannot be read or is too long to be one."""
        if member not in self.members:
            return None
        try:
            with zipfile.ZipFile(self.path) as mar:
                if mar.getinfo(member).file_size > _LONGEST:
                    return None
                return mar.read(member).decode("utf-8", "replace")
        except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, NotImplementedError):
            return None

    @property
    def missing_handler(self) -> Optional[str]:
        """The handler's file, where the manifest names one that nobody has."""
        if self.handler is None or self.handler in BUILTIN_HANDLERS:
            return None
        file = self.handler.split(":", 1)[0]
        file = file if file.endswith(".py") else f"{file}.py"
        return None if file in self.members else file


def read(path: Path) -> Archive:
    """Read a MAR's manifest.

    Raises:
        ArchiveError: not a zip file, no manifest, or one that TorchServe would refuse.
    """
    try:
        with zipfile.ZipFile(path) as mar:
            members = frozenset(mar.namelist())
            if MANIFEST not in members:
                raise ArchiveError(f"has no {MANIFEST}; build it with torch-model-archiver")
            manifest = json.loads(mar.read(MANIFEST))
    except (OSError, zipfile.BadZipFile) as cause:
        raise ArchiveError(f"is no readable zip file ({cause}); build it with torch-model-archiver") from None
    except ValueError:
        raise ArchiveError(f"has a {MANIFEST} that is not JSON; build it with torch-model-archiver") from None
    model = manifest.get("model") if isinstance(manifest, dict) else None
    if not isinstance(model, dict):
        raise ArchiveError(f'has a {MANIFEST} without "model"; build it with torch-model-archiver')
    return Archive(
        path=path,
        name=str(model.get("modelName") or path.stem),
        version=str(model.get("modelVersion") or DEFAULT_VERSION),
        handler=model.get("handler"),
        serialized_file=model.get("serializedFile"),
        members=members,
        config_file=_text(model.get("configFile")),
        model_file=_text(model.get("modelFile")),
        requirements_file=_text(model.get("requirementsFile")),
    )


def unpack(path: Path, target: Path) -> None:
    """Unpack a MAR into ``target``, which is made: for whoever loads it to see whether it works, never to serve it.

    Raises:
        ArchiveError: a member's name leads out of the folder, or a member cannot be read; nothing of it is written.
    """
    try:
        with zipfile.ZipFile(path) as mar:
            files = [entry for entry in mar.infolist() if not entry.is_dir()]
            for entry in files:
                parts = PurePosixPath(entry.filename).parts
                if not parts or ".." in parts or parts[0] == "/" or "\\" in entry.filename:
                    raise ArchiveError(f"holds {entry.filename!r}, which leads out of the archive; do not trust it")
            for entry in files:
                place = target.joinpath(*PurePosixPath(entry.filename).parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                with mar.open(entry) as member, place.open("xb") as file:
                    shutil.copyfileobj(member, file, 1 << 20)
    except (ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, NotImplementedError, FileExistsError) as cause:
        raise ArchiveError(f"cannot be unpacked ({cause}); build it again") from None


def _text(value: object) -> Optional[str]:
    return value if isinstance(value, str) and value else None
