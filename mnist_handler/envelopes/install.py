"""Puts our envelope where an unmodified TorchServe looks for its own.

TorchServe's worker imports the handler's module first and afterwards loads the envelope that
``TS_SERVICE_ENVELOPE`` names: it imports ``ts.torch_handler.request_envelope.<name>`` and takes the first
class defined there. A module of ours under that name in ``sys.modules`` is what it finds. Seen in TorchServe
0.9.0 and 0.12.0.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Dict, List, Tuple

from mnist_handler.envelopes.front_door import BatchEnvelope

PACKAGE = "ts.torch_handler.request_envelope"
#: TorchServe's envelopes: the class's name, and how ours differs between them.
_CLASSES: Dict[str, Tuple[str, Dict[str, bool]]] = {
    "body": ("BodyEnvelope", {"bare_raw": True}),
    "json": ("JSONEnvelope", {"decodes_base64": True}),
    "kserve": ("KServeEnvelope", {}),
    "kservev2": ("KServev2Envelope", {}),
}
_CONTEXT_METHODS: Dict[str, List[str]] = {
    "get_all_request_header": ["self", "idx"],
    "get_request_header": ["self", "idx", "key"],
    "set_response_content_type": ["self", "idx", "value"],
    "set_response_header": ["self", "idx", "key", "value"],
    "set_response_status": ["self", "code", "phrase", "idx"],
}


class IncompatibleTorchServe(RuntimeError):
    """TorchServe's internals are not as this package knows them; its own envelopes are left in place."""


def install_envelopes() -> bool:
    """Makes every ``TS_SERVICE_ENVELOPE`` (body, json, kserve, kservev2) take the worker's whole batch.

    To be called while the handler's module is imported. Does nothing outside TorchServe's worker, and nothing
    where the envelopes are in place already.

    Returns:
        Whether they are in place now.

    Raises:
        IncompatibleTorchServe: the loader, an envelope or the context is not as expected; nothing is changed.
    """
    # The worker has imported its loader before any handler. Where it has not, nobody will look for envelopes.
    loader_module = sys.modules.get("ts.model_loader")
    if loader_module is None:
        return False
    if all(_is_ours(name) for name in _CLASSES):
        return True
    loader = _check_loader(loader_module)
    _check_context()
    for name, (class_name, _) in _CLASSES.items():
        _check_envelope(name, class_name)
    _replace(loader)
    return True


def _is_ours(name: str) -> bool:
    return bool(getattr(sys.modules.get(f"{PACKAGE}.{name}"), "takes_whole_batch", False))


def _check_loader(module: ModuleType) -> Any:
    loader = getattr(module, "TsModelLoader", None)
    _check_signature(getattr(loader, "_load_default_envelope", None), ["self", "envelope"], "TsModelLoader")
    return loader


def _check_context() -> None:
    context = getattr(_import("ts.context"), "Context", None)
    for name, parameters in _CONTEXT_METHODS.items():
        _check_signature(getattr(context, name, None), parameters, f"Context.{name}")


def _check_envelope(name: str, class_name: str) -> None:
    stock = getattr(_import(f"{PACKAGE}.{name}"), class_name, None)
    _check_signature(getattr(stock, "__init__", None), ["self", "handle_fn"], f"{class_name}.__init__")
    _check_signature(getattr(stock, "handle", None), ["self", "data", "context"], f"{class_name}.handle")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise IncompatibleTorchServe(f"this TorchServe has no module {name}; seen: 0.9.0, 0.12.0") from error


def _check_signature(function: Any, expected: List[str], where: str) -> None:
    found = list(inspect.signature(function).parameters) if callable(function) else None
    if found != expected:
        raise IncompatibleTorchServe(
            f"TorchServe's {where} takes {found}, not {expected}: this is a version that the envelopes "
            "do not know (seen: 0.9.0, 0.12.0)"
        )


def _replace(loader: Any) -> None:
    """Puts our modules in place and asks the loader whether it finds them; takes them back if not."""
    package = importlib.import_module(PACKAGE)
    before = {name: sys.modules[f"{PACKAGE}.{name}"] for name in _CLASSES}
    for name in _CLASSES:
        _put(package, name, _make_module(name))
    for name, (class_name, _) in _CLASSES.items():
        found = loader()._load_default_envelope(name)
        if found is not getattr(sys.modules[f"{PACKAGE}.{name}"], class_name):
            for other, module in before.items():
                _put(package, other, module)
            raise IncompatibleTorchServe(f"TorchServe's loader takes {found} for the envelope {name}, not ours")


def _put(package: ModuleType, name: str, module: ModuleType) -> None:
    sys.modules[f"{PACKAGE}.{name}"] = module
    setattr(package, name, module)


def _make_module(name: str) -> ModuleType:
    class_name, differences = _CLASSES[name]
    module = ModuleType(f"{PACKAGE}.{name}", BatchEnvelope.__doc__)
    module.__spec__ = ModuleSpec(module.__name__, None)
    made = type(class_name, (BatchEnvelope,), {**differences, "__module__": module.__name__})
    vars(module).update({class_name: made, "takes_whole_batch": True})
    return module
