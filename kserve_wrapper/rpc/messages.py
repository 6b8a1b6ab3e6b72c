"""The protocol's messages, from a package that others keep.

tritonclient's come first: the package is small, and importing it costs next to nothing beside grpcio and NumPy,
which are needed anyway. Its current releases need a newer protobuf than the stock KServe image has (3.20); there
kserve's serve. Importing kserve costs more than a second and 150 MB, but its messages are one self-contained file:
that file alone is loaded.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

_KSERVE_FILE = "protocol/grpc/grpc_predict_v2_pb2.py"
_KSERVE_MODULE = "grpc_predict_v2_pb2"


class NoMessages(ImportError):
    """Neither package is there; the message says what to install."""


def load_messages() -> Any:
    """The module with the message classes. Raises NoMessages."""
    try:
        from tritonclient.grpc import service_pb2
    except ImportError:
        return load_kserve_messages()
    return service_pb2


def load_kserve_messages() -> ModuleType:
    """kserve's, without kserve. Raises NoMessages."""
    package = importlib.util.find_spec("kserve")
    for place in (package.submodule_search_locations or ()) if package else ():
        path = Path(place) / _KSERVE_FILE
        if path.exists():
            return _load_file(path)
    raise NoMessages("gRPC needs the package tritonclient (or kserve): install it, or pass --enable_grpc false")


def _load_file(path: Path) -> ModuleType:
    loaded = sys.modules.get(_KSERVE_MODULE)
    if loaded is not None:
        return loaded
    spec = importlib.util.spec_from_file_location(_KSERVE_MODULE, path)
    if spec is None or spec.loader is None:
        raise NoMessages(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    # The generated classes look their module up by name.
    sys.modules[_KSERVE_MODULE] = module
    spec.loader.exec_module(module)
    return module
