"""What must hold before TorchServe is started, so that never half a system runs."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Tuple

from kserve_wrapper.modelstore.content import check_content
from kserve_wrapper.modelstore.findings import Finding
from kserve_wrapper.torchserve.config import TorchServeConfig, load_models

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

Port = Tuple[str, str, int]


def problems(config: TorchServeConfig, wrapper_ports: Mapping[str, int]) -> List[str]:
    """What would keep TorchServe or the wrapper from serving here, each with its mend; content: ``findings``.

    Args:
        config: what TorchServe will be started with.
        wrapper_ports: ports of the wrapper, by the flag that sets them.
    """
    return [*_archives(config), *_ports(config, wrapper_ports)]


def findings(asked: TorchServeConfig) -> List[Finding]:
    """What the check of a model directory says of settings, snapshot and archives.

    Args:
        asked: the user's file with arguments and environment.
    """
    if asked.model_store is None or not asked.model_store.is_dir():
        return []  # A problem by itself.
    return check_content(asked.path, asked.settings, asked.model_store)


def _archives(config: TorchServeConfig) -> Iterator[str]:
    store = config.model_store
    if store is None:
        yield f"{config.path}: model_store is not set. Set it, or give --model-store=DIRECTORY."
        return
    if not store.is_dir():
        yield f"model store {store}: no such directory. Create it, or give --model-store=DIRECTORY."
        return
    # A snapshot beats load_models in TorchServe.
    named = None if "model_snapshot" in config.settings else load_models(config.settings)
    for url in named or ():
        if not _URL.match(url) and not (store / url).exists():
            yield f"load_models: the archive {url} is not in {store}. Put it there, or take it out of load_models."


def _ports(config: TorchServeConfig, wrapper_ports: Mapping[str, int]) -> Iterator[str]:
    used: Dict[int, str] = {}
    for name, host, port in _wanted(config, wrapper_ports):
        if port in used and {name, used[port]} != {"inference_address", "management_address"}:
            yield f"{name} and {used[port]} both want port {port}. Change one of them."
        elif port not in used:
            fault = _bind(host, port)
            if fault is not None:
                yield f"{name}: port {port} on {host} {fault}."
        used.setdefault(port, name)


def _wanted(config: TorchServeConfig, wrapper_ports: Mapping[str, int]) -> Iterator[Port]:
    yield "inference_address", config.inference.bind, config.inference.port
    yield "management_address", config.management.bind, config.management.port
    if config.enable_metrics_api:
        yield "metrics_address", config.metrics.bind, config.metrics.port
    yield "grpc_inference_port", "127.0.0.1", config.grpc_inference_port
    yield "grpc_management_port", "127.0.0.1", config.grpc_management_port
    for flag, port in wrapper_ports.items():
        yield f"the wrapper's {flag}", "0.0.0.0", port


def _bind(host: str, port: int) -> Optional[str]:
    """Why the port cannot be had, or None."""
    error = _bind_error(host, port)
    if error is None:
        return None
    if error.errno == errno.EADDRINUSE:
        return f"is taken{owner(port)}. Stop what uses it, or choose another port"
    if error.errno == errno.EACCES:
        return "needs privileges. Choose a port from 1024 up"
    return f"cannot be bound ({error.strerror}). Correct the host"


def taken(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    error = _bind_error(host, port)
    return error is not None and error.errno == errno.EADDRINUSE


def _bind_error(host: str, port: int) -> Optional[OSError]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def owner(port: int) -> str:
    """`` by NAME (process id N)`` of what listens there, as far as /proc tells; else an empty text."""
    with contextlib.suppress(OSError):
        for process in listeners(port) or ():
            command = Path(f"/proc/{process}/comm").read_text(encoding="utf-8", errors="replace").strip()
            return f" by {command} (process id {process})"
    return ""


def listeners(port: int) -> Optional[List[int]]:
    """The processes that listen at a port: this user's, others cannot be looked into. None: /proc tells of nobody."""
    sockets = _listening(port)
    if not sockets:
        return None
    processes = (path for path in Path("/proc").iterdir() if path.name.isdigit())
    return [int(process.name) for process in processes if sockets & _sockets(process)]


def descends(process: int, ancestor: int) -> bool:
    """Whether a process is another's child, or a child's, and so on, or that process itself."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        while process > 1:
            if process == ancestor:
                return True
            # The name before the fields stands in brackets and may hold any character.
            process = int(Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return False


def _listening(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table, encoding="ascii") as lines:
            for fields in (line.split() for line in lines):
                if len(fields) > 9 and fields[3] == "0A" and fields[1].endswith(f":{port:04X}"):
                    found.add(f"socket:[{fields[9]}]")
    return found


def _sockets(process: Path) -> set[str]:
    links = set()
    # Other people's processes cannot be looked into, and any may end meanwhile.
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                links.add(os.readlink(descriptor))
    return links
