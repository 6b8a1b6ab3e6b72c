"""Which service listens where in a pod, and which two of them want the same port."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Optional, Union

from kserve_wrapper.modelstore.findings import Finding, error
from kserve_wrapper.torchserve.config import Setting
from kserve_wrapper.upstream import address

#: The wrapper's own ports, as KServe expects them.
WRAPPER_HTTP_PORT = 8080
WRAPPER_GRPC_PORT = 8081

#: Property, its default in TorchServe, and the document's value.
_SERVICES = (
    ("inference_address", "http://127.0.0.1:8080", "http://0.0.0.0:8085"),
    ("management_address", "http://127.0.0.1:8081", "http://127.0.0.1:8086"),
    ("metrics_address", "http://127.0.0.1:8082", "http://0.0.0.0:8082"),
    ("grpc_inference_port", "7070", "7070"),
    ("grpc_management_port", "7071", "7071"),
)
#: TorchServe itself lets these listen at one address.
_SHARED = frozenset({"inference_address", "management_address", "metrics_address"})


@dataclass(frozen=True)
class _Listener:
    service: str
    port: int
    line: Optional[int]
    usual: str


def check_ports(file: Path, settings: Mapping[str, Setting], lines: Mapping[str, int]) -> List[Finding]:
    """Addresses that TorchServe would refuse, and ports that two services share."""
    findings: List[Finding] = []
    listeners = [
        _Listener("the wrapper's REST", WRAPPER_HTTP_PORT, None, ""),
        _Listener("the wrapper's gRPC", WRAPPER_GRPC_PORT, None, ""),
    ]
    for key, default, usual in _SERVICES:
        value = settings[key].value if key in settings else default
        port = _port(key, value)
        if isinstance(port, str):
            findings.append(error(file, lines.get(key), f"{key}={value}: {port}", f"Write {key}={usual}"))
            continue
        listener = _Listener(key, port, lines.get(key), usual)
        findings += [_clash(file, listener, other) for other in listeners if _same(listener, other)]
        listeners.append(listener)
    return findings


def _port(key: str, value: str) -> Union[int, str]:
    """The port, or what is wrong with the value."""
    if key.endswith("_address"):
        try:
            return address.parse(value, key[: -len("_address")]).port
        except ValueError as problem:
            return str(problem)
    if value.isascii() and value.isdigit() and 0 < int(value) < 65536:
        return int(value)
    return "is no port from 1 to 65535"


def _same(one: _Listener, other: _Listener) -> bool:
    return one.port == other.port and not {one.service, other.service} <= _SHARED


def _clash(file: Path, one: _Listener, other: _Listener) -> Finding:
    where = f" (line {other.line})" if other.line else ""
    unset = "" if one.line else ", its default because the line is absent"
    return error(
        file,
        one.line,
        f"{one.service} wants port {one.port}{unset}, which is {other.service}'s{where}",
        f"Write {one.service}={one.usual}",
    )
