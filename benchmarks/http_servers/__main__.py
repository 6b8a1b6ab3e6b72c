"""One wrapper process behind the HTTP server of one's choice: python -m benchmarks.http_servers SERVER [FLAGS …]."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import sys

import uvloop

from kserve_wrapper import cli
from kserve_wrapper.assembly import assemble
from kserve_wrapper.core.sockets import bind
from kserve_wrapper.httpd.server import http_server
from kserve_wrapper.rest.app import App
from kserve_wrapper.settings import Settings
from kserve_wrapper.telemetry import logs
from kserve_wrapper.torchserve import config as torchserve

#: Each module's ``serve`` answers with an application until it is cancelled.
OTHERS = {
    "uvicorn-asgi": "benchmarks.http_servers.uvicorn_asgi",
    "granian-asgi": "benchmarks.http_servers.granian_asgi",
    "granian-rsgi": "benchmarks.http_servers.granian_rsgi",
}
NAMES = ["own", *OTHERS]


async def run(name: str, settings: Settings) -> None:
    """Serves by HTTP alone until the process is killed."""
    parts = assemble(settings, torchserve.load(settings.config_path, os.environ))
    follows = asyncio.ensure_future(parts.readiness.run())
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    if name == "own":
        await _serve_own(parts.app, settings)
    else:
        await importlib.import_module(OTHERS[name]).serve(parts.app, settings)
    follows.cancel()


async def _serve_own(app: App, settings: Settings) -> None:
    await http_server(app, settings).start(bind(settings.host, settings.http_port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    given = cli.parse(sys.argv[2:], os.environ)
    logs.configure(given)
    uvloop.install()
    asyncio.run(run(sys.argv[1], given))
