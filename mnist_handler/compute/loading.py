"""A model out of an unpacked archive: its definition, its weights, its class names."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any, Callable, List, Mapping, Optional

import torch
from torch import nn

from mnist_handler.config import ConfigError

#: How torch's versions name an object that is more than tensors.
_OBJECT = re.compile(r"(?:GLOBAL|[Uu]nsupported class) ([\w.]+)")


class LoadError(RuntimeError):
    """The archive does not hold a model that can be served; the message says what is missing."""


class Function(nn.Module):
    """A model that is no module: any callable from tensors to tensors, a session of ONNX Runtime, say."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self._function(*inputs)


def load_model(directory: Path, manifest: Mapping[str, Any], device: torch.device) -> nn.Module:
    """The model of a manifest, in eval mode on the device.

    With a ``modelFile``, its only ``torch.nn.Module``, or the one that ``modelClass`` names, is built and given
    the weights of ``serializedFile``; without one, that file is TorchScript. Weights are read with ``weights_only``: no
    code in them runs.

    Raises:
        LoadError: a file is missing, not one class, parameters without weights, weights of another model.
    """
    entry = manifest["model"]
    serialized = entry.get("serializedFile")
    weights = directory / serialized if serialized else None
    if weights is not None and not weights.is_file():
        raise LoadError(f"the archive lacks its weights, {serialized}")
    if entry.get("modelFile"):
        model = build_model(directory / entry["modelFile"], entry.get("modelClass"))
        if weights is not None:
            _load_weights(model, weights)
        elif any(True for _ in model.parameters()):
            raise LoadError(
                f"the archive has {entry['modelFile']} but no weights for it, and random ones are not served: "
                "build the archive with its serialized file (serialized_file in mar.json)"
            )
    elif weights is not None:
        model = torch.jit.load(str(weights), map_location=device)  # type: ignore[no-untyped-call]
    else:
        raise LoadError("the manifest names neither a model file nor a serialized file")
    return model.to(device).eval()


def build_model(path: Path, name: Optional[str] = None) -> nn.Module:
    """An instance of the only ``torch.nn.Module`` subclass that ``path`` defines, or of the one of that name.

    Raises:
        LoadError: no such file or class, or several and none is named.
    """
    if not path.is_file():
        raise LoadError(f"the archive lacks its model file, {path.name}")
    module_name = path.stem
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    classes = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == module_name
    }
    found = ", ".join(classes) or "none"
    if name is not None and name not in classes:
        raise LoadError(
            f"{path.name} defines no torch.nn.Module {name}, which model_class in mar.json names; found {found}"
        )
    if name is None and len(classes) != 1:
        hint = ": name the model in mar.json, by model_class" if classes else ": define it there, not by an import"
        raise LoadError(f"{path.name} must define exactly one torch.nn.Module; found {found}{hint}")
    model: nn.Module = classes[name or found]()
    return model


def _load_weights(model: nn.Module, path: Path) -> None:
    try:
        # Where the model is built; from there it goes to the device as a whole.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise LoadError(f"{path.name} is not a state_dict: {_why_not(str(error), path.name)}") from error
    if not isinstance(state, Mapping):
        # Older torch loads TorchScript here.
        said = "TorchScript" if isinstance(state, torch.jit.ScriptModule) else f"GLOBAL {type(state).__name__}"
        raise LoadError(f"{path.name} is not a state_dict: {_why_not(said, path.name)}")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise LoadError(f"{path.name} does not fit {type(model).__name__}: {error}") from error


def _why_not(said: str, name: str) -> str:
    """torch's page of advice in one line: what the file holds instead, and what to do."""
    found = _OBJECT.search(said)
    if found is not None:
        return f'it holds {found[1]}, perhaps of a whole model. Save it by torch.save(model.state_dict(), "{name}")'
    if "TorchScript" in said:
        return f'it is TorchScript. Pack it without a model file, or torch.save(model.state_dict(), "{name}")'
    first = said.strip().partition(". ")[0].partition("\n")[0]
    # A lone number or name would be a KeyError's.
    return "torch.load cannot read it" + (f": {first}" if " " in first else "")


def load_labels(path: Path) -> Optional[List[str]]:
    """Class names in order of their index, from ``index_to_name.json``; None without the file.

    The file maps ``"0"`` to a name or to a list whose last entry is the name, or has a list ``object_type_names``.

    Raises:
        ConfigError: another form, or an index is missing.
    """
    if not path.is_file():
        return None
    mapping = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(mapping, dict) and isinstance(mapping.get("object_type_names"), list):
        mapping = dict(enumerate(mapping["object_type_names"]))
    if not isinstance(mapping, dict):
        raise ConfigError(f"{path.name}: must map class indices to names")
    by_index = {str(key): value[-1] if isinstance(value, list) and value else value for key, value in mapping.items()}
    names = [by_index.get(str(index)) for index in range(len(by_index))]
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f'{path.name}: must map each of "0" to "{len(by_index) - 1}" to a name')
    return [str(name) for name in names]
