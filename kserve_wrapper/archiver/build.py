"""Packs a model's folder into its archive with torch-model-archiver, reproducibly.

With SOURCE_DATE_EPOCH set, the same files give the same bytes, but for a model that is compiled ahead.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from kserve_wrapper.archiver.ahead import pack_compiled
from kserve_wrapper.archiver.description import (
    FILES,
    BuildError,
    check_version,
    package_folder,
    read_description,
    uses_package,
    warnings_of,
)

MANIFEST = "MAR-INF/MANIFEST.json"
#: What the command torch-model-archiver runs, which need not be on the PATH.
ARCHIVER = "from model_archiver.model_packaging import generate_model_archive as run; run()"


def build(
    folder: Path,
    out: Path,
    version: Optional[str] = None,
    warn: Optional[Callable[[str], None]] = None,
    accept: Optional[Callable[[Path], None]] = None,
    instructions: Optional[str] = None,
) -> Path:
    """Write the archive of the model in ``folder``, named like it, and return its path.

    It is written whole or not at all, and replaces an older one.

    Args:
        folder: with ``mar.json`` in it.
        out: where the archive goes; made if missing.
        version: instead of the one in mar.json.
        warn: called with what is allowed and probably not meant; without it, that goes to standard error.
        accept: called with the archive before it gets its place; what it raises keeps it from that.
        instructions: what the model is compiled ahead for, where its handler can: see :mod:`.ahead`. None: it is not.

    Raises:
        BuildError: see the message.
    """
    folder = folder.resolve()
    model = folder.name
    description = read_description(folder)
    if version is not None:
        check_version(version, "--version")
    for warning in warnings_of(folder, description):
        (warn or _to_stderr)(warning)
    if importlib.util.find_spec("model_archiver") is None:
        raise BuildError(
            f"torch-model-archiver is not installed for {sys.executable}: pip install 'ts-kserve-wrapper[serve]' "
            "(in a clone: make env, and use .venv/bin/python)"
        )
    out.mkdir(parents=True, exist_ok=True)
    # Scratch lies in the target folder, so that the last step is an atomic rename. The archiver stages at a fixed
    # name in TMPDIR: give it one that no other build shares.
    with tempfile.TemporaryDirectory(dir=out, prefix=f".{model}-") as scratch_name:
        scratch = Path(scratch_name).resolve()
        stage_extras(folder, description, scratch / "extras")
        made = _archive(model, folder, description, version or description["version"], scratch)
        if "model_class" in description:
            name_class(made, description["model_class"])
        if instructions is not None and "compile_ahead" not in description and uses_package(folder, description):
            pack_compiled(made, instructions, tell=lambda line: print(f"build: {line}", file=sys.stderr, flush=True))
        rewrite(made, scratch / made.name, build_time())
        if accept is not None:
            accept(scratch / made.name)
        os.replace(scratch / made.name, out / made.name)
    return out / f"{model}.mar"


def _to_stderr(warning: str) -> None:
    print(f"build: warning: {warning}", file=sys.stderr)


def stage_extras(folder: Path, description: Dict[str, Any], stage: Path) -> None:
    """Lay out in ``stage`` what the archive's root gets beside the model's own files."""
    stage.mkdir()
    for name in description.get("extra_files", []):
        shutil.copy(folder / name, stage)
    for package in description.get("packages", []):
        place = package_folder(folder, package)
        for source in sorted(place.rglob("*")):
            if source.suffix == ".py" or source.name == "py.typed":
                target = stage / package / source.relative_to(place)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)


def _archive(model: str, folder: Path, description: Dict[str, Any], version: str, scratch: Path) -> Path:
    """Run torch-model-archiver in ``scratch``, where ``extras`` lies; the archive as it wrote it."""
    for name in ("out", "tmp"):
        (scratch / name).mkdir()
    command = archiver_command(model, folder, description, version)
    environment = {**os.environ, "TMPDIR": str(scratch / "tmp")}
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True)
    made = scratch / "out" / f"{model}.mar"
    if done.returncode or not made.is_file():
        raise BuildError(f"torch-model-archiver failed: {done.stderr.strip() or done.stdout.strip()}")
    return made


def archiver_command(model: str, folder: Path, description: Dict[str, Any], version: str) -> List[str]:
    """The torch-model-archiver command, to be run in a folder that holds ``extras`` and ``out``."""
    handler = description["handler"]
    command = [sys.executable, "-c", ARCHIVER]
    command += ["--model-name", model, "--version", version, "--export-path", "out"]
    command += ["--handler", str(folder / handler) if handler.endswith(".py") else handler]
    for key in FILES:
        if key in description:
            command += ["--" + key.replace("_", "-"), str(folder / description[key])]
    if description.get("extra_files") or description.get("packages"):
        command += ["--extra-files", "extras"]
    return command


def name_class(archive: Path, name: str) -> None:
    """Have the manifest say which class of the model's file is the model: torch-model-archiver has no option for it."""
    part = archive.with_suffix(".part")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(part, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == MANIFEST:
                manifest = json.loads(content)
                manifest["model"]["modelClass"] = name
                content = json.dumps(manifest).encode()
            new.writestr(entry.filename, content)
    os.replace(part, archive)


def build_time() -> time.struct_time:
    """Now, or SOURCE_DATE_EPOCH; not before 1980, where ZIP's time begins."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text and not text.isdecimal():
        raise BuildError(f"SOURCE_DATE_EPOCH must be seconds since 1970, not {text!r}")
    return time.gmtime(max(float(text or time.time()), 315532800.0))


def rewrite(source: Path, target: Path, moment: time.struct_time) -> None:
    """Copy the archive with its entries in order and all of one time, so that equal files give equal bytes."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == MANIFEST:
                manifest = json.loads(content)
                manifest["createdOn"] = time.strftime("%d/%m/%Y %H:%M:%S", moment)
                content = json.dumps(manifest, indent=2).encode()
            entry = zipfile.ZipInfo(name, moment[:6])
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            new.writestr(entry, content)
