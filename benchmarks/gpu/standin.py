"""What the handler imports and a bare GPU machine may lack, so that its stages can be measured all the same."""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any, List

from benchmarks.environments import ROOT

CAPTUM = ("DeepLift", "GradientShap", "InputXGradient", "IntegratedGradients", "Occlusion", "Saliency")


class NoAttribution:
    """Stands in for any of Captum's methods: the handler calls one while it warms up."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def attribute(self, inputs: Any, **_: Any) -> Any:
        return tuple(one * 0 for one in inputs) if isinstance(inputs, tuple) else inputs * 0


def prepare() -> List[str]:
    """Puts stand-ins where TorchServe or Captum are not installed; returns what is missing.

    Without TorchServe the handler's package is imported without its ``__init__``, which would install envelopes into
    TorchServe. Without Captum there are no explanations.
    """
    missing = []
    if importlib.util.find_spec("ts") is None:
        missing.append("torchserve")
        _module("ts").__path__ = []
        _module("ts.torch_handler").__path__ = []
        _module("ts.torch_handler.base_handler").BaseHandler = object  # type: ignore[attr-defined]
        _module("mnist_handler").__path__ = [str(ROOT / "mnist_handler")]
    if importlib.util.find_spec("captum") is None:
        missing.append("captum")
        _module("captum").__path__ = []
        attr = _module("captum.attr")
        for name in CAPTUM:
            setattr(attr, name, NoAttribution)
    return missing


def _module(name: str) -> types.ModuleType:
    sys.modules[name] = types.ModuleType(name)
    return sys.modules[name]
