"""From the command line to server processes."""

from __future__ import annotations

import os
import sys
from typing import Optional, Sequence

from kserve_wrapper import cli
from kserve_wrapper.core.sockets import bind
from kserve_wrapper.prefork import run_server_processes
from kserve_wrapper.settings import Settings
from kserve_wrapper.telemetry import logs
from kserve_wrapper.torchserve import config as torchserve

#: What the exit status says: the command line or a file that it names is wrong.
USAGE = 2


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Serves until told to stop; returns the exit status: 0, 1 after a failure, 2 for wrong settings."""
    settings = cli.parse(sys.argv[1:] if arguments is None else arguments, os.environ)
    try:
        logs.configure(settings)
        config = torchserve.load(settings.config_path, os.environ)
    except (ValueError, torchserve.ConfigError) as error:
        return _refuse(str(error))
    try:
        return _start(settings, config)
    except (OSError, ImportError) as error:
        return _refuse(str(error))


def _start(settings: Settings, config: torchserve.TorchServeConfig) -> int:
    shared = settings.workers > 1
    http = bind(settings.host, settings.http_port, shared)
    if not shared:
        # Only now, so that a parent of several processes stays small and may fork.
        from kserve_wrapper.process import run

        return run(settings, config, http, settings.grpc_port)
    # Holds the port for all; a socket that does not listen gets no connections.
    grpc = bind(settings.host, settings.grpc_port, shared) if settings.enable_grpc else None
    return run_server_processes(settings, config, http, grpc.getsockname()[1] if grpc else 0)


def _refuse(message: str) -> int:
    print(f"ts-kserve wrapper: {message}", file=sys.stderr)
    return USAGE
