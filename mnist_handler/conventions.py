"""TorchServe's own ways to subclass a handler: which of them work here, and what to write instead of the others.

``inference(data)`` and ``postprocess(data)`` work as TorchServe's documentation teaches them. The others take or make
TorchServe's wire dicts one batch at a time, which this base reads before it calls a subclass; a handler that overrides
them does not load, since it would become ready and then fail.
"""

from __future__ import annotations

from typing import Dict, Set

#: Methods and attributes of TorchServe's handlers that mean nothing here, and what to write instead.
INSTEAD: Dict[str, str] = {
    "handle": "override inference or postprocess, which are called for whole batches of rows",
    "preprocess": (
        "declare inputs and override encode (text to numbers), decode_input (a client's values to arrays) or prepare "
        "(arrays to what the model takes)"
    ),
    "image_processing": "set mean, std and resize, or override prepare",
    "explain_handle": "Captum explains each model by :explain; set explainable = False to switch that off",
    "get_insights": "Captum explains each model by :explain; set explainable = False to switch that off",
    "_load_torchscript_model": "override load(context), which returns the model",
    "_load_pickled_model": "override load(context), which returns the model",
}


class ConventionError(TypeError):
    """The handler overrides what would never be called rightly; the message names it and what to write instead."""


def overridden(kind: type, base: type) -> Set[str]:
    """Names that a subclass of ``base``, outside of this package, defines."""
    names: Set[str] = set()
    for one in kind.__mro__:
        if issubclass(one, base) and not _is_ours(one):
            names.update(vars(one))
    return names


def _is_ours(kind: type) -> bool:
    module = kind.__module__
    return module == "mnist_handler" or module.startswith("mnist_handler.")


def check_conventions(kind: type, base: type) -> None:
    """Raise ConventionError where a handler overrides what this base does not call as TorchServe does."""
    for name in sorted(overridden(kind, base) & INSTEAD.keys()):
        raise ConventionError(
            f"{kind.__name__} overrides {name}, which this handler base does not use: {INSTEAD[name]}"
        )
