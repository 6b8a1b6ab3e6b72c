"""The handler of the MNIST archive: MNISTDigitClassifier of the package ``mnist_handler``.

This file and the package share their name. In an archive of build_mar.py the package lies beside this file, Python
prefers it, and this file is never run. torch-model-archiver's bare command packs this file alone: then it hides the
installed package, so it finds that and becomes it, by running the package's own ``__init__`` in this module.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import Iterator, Optional


def _candidates() -> Iterator[Optional[ModuleSpec]]:
    """Whatever bears this module's name: on each entry of the path, then by other finders (editable installs)."""
    for entry in sys.path:
        yield PathFinder.find_spec(__name__, [entry])
    for finder in sys.meta_path:
        if hasattr(finder, "find_spec"):
            yield finder.find_spec(__name__, None)


def _installed() -> ModuleSpec:
    """The installed package.

    Raises:
        RuntimeError: there is none. Not ImportError, after which TorchServe looks for a handler of its own by this
            name and reports that instead.
    """
    for spec in _candidates():
        if spec is not None and spec.origin is not None and spec.submodule_search_locations:
            return spec
    raise RuntimeError(
        "the package mnist_handler is not installed where this worker runs: pip install ts-kserve-wrapper[handler] "
        "there, or build the archive with model-archiver/build_mar.py, which packs it"
    )


def _become(spec: ModuleSpec) -> None:
    """Run the package's ``__init__`` in this module, with all that its imports look at in place."""
    module = sys.modules[__name__]
    module.__spec__, module.__loader__, module.__package__ = spec, spec.loader, spec.name
    module.__file__, module.__path__ = spec.origin, list(spec.submodule_search_locations or [])
    if spec.loader is None:
        raise RuntimeError(f"{spec.origin} has no loader")
    spec.loader.exec_module(module)


_become(_installed())
