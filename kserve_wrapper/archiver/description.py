"""``mar.json``: what goes into a model's archive.

    version          the model's version
    handler          the handler's file, or the name of one that TorchServe brings
    model_file       the file with the model's class (not for TorchScript)
    model_class      its name, where the file has several; handlers of this project read it
    serialized_file  the weights
    config_file      TorchServe's model configuration, YAML; model-config.yaml where that lies in the folder
    requirements_file  what pip installs for this model where install_py_dep_per_model=true
    extra_files      further files, a list; index_to_name.json is one of them wherever it lies in the folder
    packages         packages that travel in the archive, a list: folders beside mar.json, or installed ones
    compile_ahead    no: the model is not compiled when its archive is built, whatever the command says
    train            the command that makes the weights, shown where they are missing

Only version and handler must be there, and the weights where there is a model file: a model without parameters has
an empty state_dict. Paths are relative to mar.json.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, List

from kserve_wrapper.modelstore import modules, protocols

NAME = "mar.json"
#: The keys of mar.json that name one file and are options of torch-model-archiver.
FILES = ("model_file", "serialized_file", "config_file", "requirements_file")
TEXTS = ("version", "handler", "model_class", "compile_ahead", "train", *FILES)
LISTS = ("extra_files", "packages")
#: The handlers that TorchServe brings, as torch-model-archiver 0.12 knows them.
HANDLERS = (
    *("base_handler", "dali_image_classifier", "image_classifier", "image_segmenter", "object_detector"),
    *("text_classifier", "trt_llm_handler", "vllm_handler"),
)
#: The handler base of this project.
PACKAGE = protocols.BASE
#: Files that are packed wherever they lie in the folder: TorchServe and handlers look for these names.
LABELS, CONFIG = "index_to_name.json", "model-config.yaml"
#: One that is not: it may be what its training needs.
REQUIREMENTS = "requirements.txt"


class BuildError(Exception):
    """The archive cannot be built; the message says why and what to do."""


def read_description(folder: Path) -> Dict[str, Any]:
    """What mar.json in ``folder`` says, checked, with the files that are packed by themselves.

    Raises:
        BuildError: there is none, it is not what the module's docstring describes, or a file it names is missing.
    """
    path = folder / NAME
    description = _read(path)
    for key, value in description.items():
        if key not in TEXTS and key not in LISTS:
            raise BuildError(f"{path}: unknown key {key!r}; known are {', '.join(sorted((*TEXTS, *LISTS)))}")
        texts = value if key in LISTS and isinstance(value, list) else [value]
        if isinstance(value, list) != (key in LISTS) or not all(isinstance(text, str) and text for text in texts):
            raise BuildError(f"{path}: {key} must be a {'list of texts' if key in LISTS else 'text'}")
    if description.get("compile_ahead", "no") != "no":
        raise BuildError(f"{path}: compile_ahead is no, or left out")
    if "model_class" in description and "model_file" not in description:
        raise BuildError(f"{path}: model_class names a class of model_file, which is missing")
    for key in ("version", "handler"):
        if key not in description:
            raise BuildError(f"{path}: {key} is missing")
    check_version(description["version"], str(path))
    _add_usual_files(folder, description)
    check_files(folder, description)
    check_config(folder, description)
    return description


def _read(path: Path) -> Dict[str, Any]:
    if not path.is_file():
        known = sorted(found.parent.name for found in path.parent.parent.glob(f"*/{NAME}"))
        raise BuildError(f"no model {path.parent.name}: {path} is missing. Models here: {', '.join(known) or 'none'}")
    try:
        description = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise BuildError(f"{path} is not JSON: {error}") from error
    if not isinstance(description, dict):
        raise BuildError(f"{path} must hold an object")
    return description


def _add_usual_files(folder: Path, description: Dict[str, Any]) -> None:
    if "config_file" not in description and (folder / CONFIG).is_file():
        description["config_file"] = CONFIG
    extras = description.get("extra_files", [])
    if LABELS not in [Path(name).name for name in extras] and (folder / LABELS).is_file():
        description["extra_files"] = [*extras, LABELS]


def check_version(version: str, where: str) -> None:
    """Raise BuildError for a version that cannot stand in a URL's path."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", version):
        raise BuildError(f"{where}: version {version!r} must be of letters, digits, dots, _ and - alone")


def check_files(folder: Path, description: Dict[str, Any]) -> None:
    """Raise BuildError unless every file and package that the description names is there and can be imported."""
    names = [description[key] for key in FILES if key in description] + description.get("extra_files", [])
    handler = description["handler"]
    if handler.endswith(".py"):
        names.append(handler)
    elif handler not in HANDLERS:
        hint = f"; did you mean {handler}.py?" if (folder / f"{handler}.py").is_file() else ""
        raise BuildError(
            f"{folder / NAME}: handler: no file {handler} (files end in .py) and not one of TorchServe's "
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
        package_folder(folder, package)
        _check_hidden(folder, package, names)
    if "model_file" in description and "serialized_file" not in description:
        raise BuildError(
            f"{folder / NAME}: model_file without serialized_file: it would be served with random weights. "
            "Name its weights (for a model without parameters, an empty state_dict: torch.save({}, FILE))"
        )


def _check_hidden(folder: Path, package: str, names: List[str]) -> None:
    """Raise BuildError for a file that Python would never run, as the package of its name comes first."""
    for name in names:
        if Path(name).name == f"{package}.py" and modules.does_something((folder / name).read_text(encoding="utf-8")):
            raise BuildError(
                f"{folder / name} is named like the package {package}, which {folder / NAME} packs: Python would "
                "import the package and never this file. Name the file otherwise, here and in mar.json"
            )


def package_folder(folder: Path, package: str) -> Path:
    """Where the package lies that ``packages`` names: beside mar.json, or where this Python imports it from.

    Nothing is imported.

    Raises:
        BuildError: in neither place.
    """
    if not package.isidentifier():
        raise BuildError(f"{folder / NAME}: packages names {package!r}, which is no name of a package")
    if (folder / package / "__init__.py").is_file():
        return folder / package
    found = importlib.util.find_spec(package)
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        if (Path(place) / "__init__.py").is_file():
            return Path(place)
    raise BuildError(
        f"{folder / NAME}: packages names {package}, and there is no such package: neither "
        f"{folder / package / '__init__.py'} nor one that {sys.executable} imports"
    )


def uses_package(folder: Path, description: Dict[str, Any]) -> bool:
    """Whether the handler is built on the package ``mnist_handler``."""
    handler = folder / description["handler"]
    if PACKAGE in description.get("packages", []):
        return True
    if not handler.is_file():
        return False
    return protocols.imports_base(handler.read_text(encoding="utf-8"))


def check_config(folder: Path, description: Dict[str, Any]) -> None:
    """Raise BuildError for a section ``handler:`` that the package would refuse when the model loads.

    Other handlers have their own rules for it. Nothing is checked where PyYAML is not installed.
    """
    name = description.get("config_file")
    if name is None or not uses_package(folder, description):
        return
    try:
        import yaml

        from kserve_wrapper.modelstore.model_config import yaml_fault

        source = package_folder(folder, PACKAGE) / "config.py"
    except (ImportError, BuildError):
        return
    rules = _load_module(source)
    try:
        content = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
        if content is not None and not isinstance(content, dict):
            raise BuildError(f"{folder / name} must hold a mapping")
        rules.parse_config((content or {}).get("handler"))
    except yaml.YAMLError as error:
        raise BuildError(f"{folder / name}{yaml_fault(error)}") from error
    except rules.ConfigError as error:
        raise BuildError(f"{folder / name}: {error}") from error


def _load_module(path: Path) -> ModuleType:
    """A file as a module of its own: the package around it would import torch."""
    name = f"kserve_wrapper_archiver_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BuildError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def warnings_of(folder: Path, description: Dict[str, Any]) -> List[str]:
    """What is allowed and probably not meant."""
    found = []
    if PACKAGE not in description.get("packages", []) and uses_package(folder, description):
        found.append(
            f"{description['handler']} imports {PACKAGE}, which {folder / NAME} does not pack: add it to packages, "
            "or install it where TorchServe runs"
        )
    packed = [description.get("requirements_file"), *description.get("extra_files", [])]
    if (folder / REQUIREMENTS).is_file() and REQUIREMENTS not in packed:
        found.append(
            f'{folder / REQUIREMENTS} is not packed: write "requirements_file": "{REQUIREMENTS}" into {folder / NAME} '
            "for TorchServe to install it (install_py_dep_per_model=true)"
        )
    return found
