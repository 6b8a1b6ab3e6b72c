#!/usr/bin/env python3
"""Build a model's archive (MAR) with torch-model-archiver.

    python model-archiver/build_mar.py --model mnist --out build/model-store

model-store/MODEL/mar.json says what goes into the archive; mnist's is the example:

    version          the model's version
    handler          the handler's file, or the name of one that TorchServe brings
    model_file       the file with the model's class (not for TorchScript)
    serialized_file  the weights
    config_file      TorchServe's model configuration, YAML
    requirements_file  what pip installs for this model where install_py_dep_per_model=true
    extra_files      further files, a list
    packages         packages of this repository that travel in the archive, a list
    train            the command that makes the weights, shown where they are missing

Only version and handler must be there, and the weights where there is a model file: a model without parameters has
an empty state_dict. Paths are relative to mar.json. With SOURCE_DATE_EPOCH set, the same files
give the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, List, Optional, Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MANIFEST = "MAR-INF/MANIFEST.json"
#: What the command torch-model-archiver runs, which need not be on the PATH.
ARCHIVER = "from model_archiver.model_packaging import generate_model_archive as run; run()"
#: The keys of mar.json that name one file and are options of torch-model-archiver.
FILES = ("model_file", "serialized_file", "config_file", "requirements_file")
TEXTS = ("version", "handler", "train", *FILES)
LISTS = ("extra_files", "packages")
#: The handlers that TorchServe brings, as torch-model-archiver 0.12 knows them.
HANDLERS = (
    *("base_handler", "dali_image_classifier", "image_classifier", "image_segmenter", "object_detector"),
    *("text_classifier", "trt_llm_handler", "vllm_handler"),
)
PACKAGE = "mnist_handler"


class BuildError(Exception):
    """The archive cannot be built; the message says why and what to do."""


def read_description(folder: Path) -> Dict[str, Any]:
    """What mar.json in ``folder`` says, checked.

    Raises:
        BuildError: there is none, it is not what the module's docstring describes, or a file it names is missing.
    """
    path = folder / "mar.json"
    if not path.is_file():
        known = sorted(found.parent.name for found in folder.parent.glob("*/mar.json"))
        raise BuildError(f"no model {folder.name}: {path} is missing. Models here: {', '.join(known) or 'none'}")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BuildError(f"{path} is not JSON: {error}") from error
    if not isinstance(description, dict):
        raise BuildError(f"{path} must hold an object")
    for key, value in description.items():
        if key not in TEXTS and key not in LISTS:
            raise BuildError(f"{path}: unknown key {key!r}; known are {', '.join(sorted((*TEXTS, *LISTS)))}")
        texts = value if key in LISTS and isinstance(value, list) else [value]
        if isinstance(value, list) != (key in LISTS) or not all(isinstance(text, str) and text for text in texts):
            raise BuildError(f"{path}: {key} must be a {'list of texts' if key in LISTS else 'text'}")
    for key in ("version", "handler"):
        if key not in description:
            raise BuildError(f"{path}: {key} is missing")
    check_version(description["version"], str(path))
    check_files(folder, description)
    check_config(folder, description)
    return description


def check_version(version: str, where: str) -> None:
    """Raise BuildError for a version that cannot stand in a URL's path."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", version):
        raise BuildError(f"{where}: version {version!r} must be of letters, digits, dots, _ and - alone")


def check_files(folder: Path, description: Dict[str, Any]) -> None:
    """Raise BuildError unless every file and package that the description names is there."""
    names = [description[key] for key in FILES if key in description] + description.get("extra_files", [])
    handler = description["handler"]
    if handler.endswith(".py"):
        names.append(handler)
    elif handler not in HANDLERS:
        hint = f"; did you mean {handler}.py?" if (folder / f"{handler}.py").is_file() else ""
        raise BuildError(
            f"{folder / 'mar.json'}: handler: no file {handler} (files end in .py) and not one of TorchServe's "
            f"handlers, {', '.join(HANDLERS)}{hint}"
        )
    for name in names:
        if (folder / name).is_file():
            continue
        mend = ""
        if name == description.get("serialized_file") and "train" in description:
            mend = f". Make it first: {description['train']}"
        raise BuildError(f"{folder / name} is missing{mend}")
    for package in description.get("packages", []):
        if not (ROOT / package / "__init__.py").is_file():
            raise BuildError(
                f"{folder / 'mar.json'}: packages names {package}, and there is no such package: "
                f"{ROOT / package / '__init__.py'} is missing"
            )
    if "model_file" in description and "serialized_file" not in description:
        raise BuildError(
            f"{folder / 'mar.json'}: model_file without serialized_file: it would be served with random weights. "
            "Name its weights (for a model without parameters, an empty state_dict: torch.save({}, FILE))"
        )


def uses_package(folder: Path, description: Dict[str, Any]) -> bool:
    """Whether the handler is built on the package ``mnist_handler``."""
    handler = folder / description["handler"]
    if PACKAGE in description.get("packages", []):
        return True
    if not handler.is_file():
        return False
    imports = rf"^\s*(from|import)\s+{PACKAGE}\b"
    return re.search(imports, handler.read_text(encoding="utf-8"), re.MULTILINE) is not None


def check_config(folder: Path, description: Dict[str, Any]) -> None:
    """Raise BuildError for a section ``handler:`` that the package would refuse when the model loads.

    Other handlers have their own rules for it. Nothing is checked where PyYAML is not installed.
    """
    name = description.get("config_file")
    source = ROOT / PACKAGE / "config.py"
    if name is None or not source.is_file() or not uses_package(folder, description):
        return
    try:
        import yaml
    except ImportError:
        return
    rules = load_module(source)
    try:
        content = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
        if content is not None and not isinstance(content, dict):
            raise BuildError(f"{folder / name} must hold a mapping")
        rules.parse_config((content or {}).get("handler"))
    except (yaml.YAMLError, rules.ConfigError) as error:
        raise BuildError(f"{folder / name}: {error}") from error


def load_module(path: Path) -> ModuleType:
    """A file as a module of its own: the package around it would import torch."""
    name = f"build_mar_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BuildError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def warnings_of(folder: Path, description: Dict[str, Any]) -> List[str]:
    """What is allowed and probably not meant."""
    if PACKAGE in description.get("packages", []) or not uses_package(folder, description):
        return []
    return [
        f"{description['handler']} imports {PACKAGE}, which {folder / 'mar.json'} does not pack: add it to packages, "
        "or install it where TorchServe runs"
    ]


def stage_extras(folder: Path, description: Dict[str, Any], stage: Path) -> None:
    """Lay out in ``stage`` what the archive's root gets beside the model's own files."""
    stage.mkdir()
    for name in description.get("extra_files", []):
        shutil.copy(folder / name, stage)
    for package in description.get("packages", []):
        for source in sorted((ROOT / package).rglob("*")):
            if source.suffix == ".py" or source.name == "py.typed":
                target = stage / source.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)


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


def build(model: str, out: Path, store: Path = HERE / "model-store", version: Optional[str] = None) -> Path:
    """Write ``out``/``model``.mar whole or not at all, replacing an older one, and return its path.

    Raises:
        BuildError: see the message.
    """
    folder = store.resolve() / model
    description = read_description(folder)
    if version is not None:
        check_version(version, "--version")
    for warning in warnings_of(folder, description):
        print(f"build_mar: warning: {warning}", file=sys.stderr)
    if importlib.util.find_spec("model_archiver") is None:
        raise BuildError(
            f"torch-model-archiver is not installed for {sys.executable}: run make env and use .venv/bin/python, "
            "or pip install torch-model-archiver"
        )
    out.mkdir(parents=True, exist_ok=True)
    # Scratch lies in the target folder, so that the last step is an atomic rename. The archiver stages at a fixed
    # name in TMPDIR: give it one that no other build shares.
    with tempfile.TemporaryDirectory(dir=out, prefix=f".{model}-") as scratch_name:
        scratch = Path(scratch_name).resolve()
        stage_extras(folder, description, scratch / "extras")
        for name in ("out", "tmp"):
            (scratch / name).mkdir()
        command = archiver_command(model, folder, description, version or description["version"])
        environment = {**os.environ, "TMPDIR": str(scratch / "tmp")}
        done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True)
        made = scratch / "out" / f"{model}.mar"
        if done.returncode or not made.is_file():
            raise BuildError(f"torch-model-archiver failed: {done.stderr.strip() or done.stdout.strip()}")
        rewrite(made, scratch / made.name, build_time())
        os.replace(scratch / made.name, out / made.name)
    return out / f"{model}.mar"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point: 0, or 1 with the cause on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mnist", help="a folder of the model store (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where MODEL.mar goes; made if missing")
    parser.add_argument("--store", type=Path, default=HERE / "model-store", metavar="DIR", help="default: %(default)s")
    parser.add_argument("--version", help="instead of the version in mar.json")
    options = parser.parse_args(arguments)
    try:
        path = build(options.model, options.out, options.store, options.version)
    except (BuildError, OSError) as error:
        print(f"build_mar: {error}", file=sys.stderr)
        return 1
    print(f"{path} ({path.stat().st_size / 1024:.0f} KiB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
