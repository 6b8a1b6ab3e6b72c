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
from typing import Any, Dict, Iterable

SERVICE = "GRPCInferenceService"
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


class Protocol:
    """The service as this server offers it: its messages, and a description for reflection that tells just that.

    The packages' own description has Triton's other methods too, and lacks a field that the protocol has.

    Args:
        module: what ``load_messages`` returned.
        methods: names of the methods that are offered.
    """

    def __init__(self, module: Any, methods: Iterable[str]) -> None:
        from google.protobuf import descriptor_pb2, descriptor_pool

        #: Knows the service's file and what it needs; nothing else.
        self.pool = descriptor_pool.DescriptorPool()
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        offered = set(methods)
        for service in file.service:
            kept = [method for method in service.method if method.name in offered]
            del service.method[:]
            service.method.extend(kept)
        _add_properties(file)
        self.add(module.DESCRIPTOR, without=file.name)
        self.pool.Add(file)
        self._package = file.package
        self._classes: Dict[str, Any] = {}

    def add(self, file: Any, without: str = "") -> None:
        """Adds a file's description to the pool, after those that it needs."""
        from google.protobuf import descriptor_pb2

        for needed in file.dependencies:
            self.add(needed)
        if file.name != without:
            copied = descriptor_pb2.FileDescriptorProto()
            file.CopyToProto(copied)
            self.pool.Add(copied)

    def __getattr__(self, name: str) -> Any:
        """The class of a message. Raises AttributeError for one that the package does not have."""
        try:
            return self._classes[name]
        except KeyError:
            pass
        try:
            descriptor = self.pool.FindMessageTypeByName(f"{self._package}.{name}")
        except KeyError:
            raise AttributeError(name) from None
        made = self._classes[name] = _message_class(self.pool, descriptor)
        return made


def _message_class(pool: Any, descriptor: Any) -> Any:
    from google.protobuf import message_factory

    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


def _add_properties(file: Any) -> None:
    """``map<string, string> properties = 6`` of ModelMetadataResponse, where the package's file lacks it.

    Source: the Open Inference Protocol's open_inference_grpc.proto.
    """
    response = next(message for message in file.message_type if message.name == "ModelMetadataResponse")
    if any(field.name == "properties" or field.number == 6 for field in response.field):
        return
    entry = response.nested_type.add(name="PropertiesEntry")
    entry.options.map_entry = True
    for number, name in enumerate(("key", "value"), 1):
        entry.field.add(name=name, number=number, label=1, type=9, json_name=name)
    response.field.add(
        name="properties",
        number=6,
        label=3,
        type=11,
        type_name=f".{file.package}.ModelMetadataResponse.PropertiesEntry",
        json_name="properties",
    )
