"""One process of the wrapper: puts the parts together, serves, and drains when told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from typing import Optional, Set

from kserve_wrapper.assembly import Parts, assemble
from kserve_wrapper.core import lifetime, tasks
from kserve_wrapper.core.siblings import Siblings
from kserve_wrapper.core.sockets import listen
from kserve_wrapper.httpd.server import HttpServer, http_server
from kserve_wrapper.settings import Settings
from kserve_wrapper.torchserve.config import TorchServeConfig

logger = logging.getLogger(__name__)

#: New objects between two searches for cyclic garbage (Python's own: 700, 2,000 since 3.13).
_ALLOCATIONS = 10_000
#: Seconds between two updates of the gauges, and between two flushes of the counts, which take a moment.
_GAUGES = 0.25
#: Seconds that connections get to close after the last answer.
_CLOSING = 1.0
#: Seconds that gRPC calls get to send the answers that they have; a busy machine needs some.
_GRPC_CLOSING = 5.0
#: Seconds that clients on kept connections get to send what is on its way, and to leave with the answer.
_LEAVING = 1.0


def run(
    settings: Settings,
    config: TorchServeConfig,
    http: socket.socket,
    grpc_port: int,
    siblings: Optional[Siblings] = None,
) -> int:
    """Serves until SIGTERM or SIGINT and returns the exit status.

    Args:
        settings: the wrapper's.
        config: TorchServe's.
        http: bound; is closed in the end.
        grpc_port: 0 takes a free one.
        siblings: this process among several; None where it is the only one.
    """
    loop = _new_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_serve(settings, config, http, grpc_port, siblings))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def _serve(
    settings: Settings, config: TorchServeConfig, http: socket.socket, grpc_port: int, siblings: Optional[Siblings]
) -> int:
    parts = assemble(settings, config, siblings)
    _collect_less()
    server = http_server(parts.app, settings)
    listen(http)
    stop = _stop_on_signals()
    grpc = None
    if settings.enable_grpc:
        from kserve_wrapper.rpc.server import GrpcServer

        grpc = GrpcServer(parts.plane, parts.metrics, settings)
        grpc_port = await grpc.start(grpc_port)
    background = [asyncio.ensure_future(parts.readiness.run()), asyncio.ensure_future(_show_gauges(parts))]
    try:
        await server.start(http)
    except BaseException:
        await tasks.end(background)
        raise
    _announce(settings, http, grpc_port)
    failed = await _wait(stop, set(background))
    if not failed:
        await _leave(parts, settings.drain_delay)
    # By GOAWAY, so that what a client sends from now on goes elsewhere and is not refused here.
    closing = asyncio.ensure_future(grpc.stop(settings.drain_timeout + _CLOSING)) if grpc is not None else None
    await _drain(parts, server, settings.drain_timeout)
    if grpc is not None and closing is not None:
        # What is still there has had its answer, or is a stream without end: a shorter grace beats the first one.
        await grpc.stop(min(_GRPC_CLOSING, settings.drain_timeout + _CLOSING))
        await closing
    await server.stop(_CLOSING)
    await tasks.end(background)
    parts.metrics.flush()
    if parts.tracing is not None:
        parts.tracing.shutdown()
    logger.info("stopped")
    return 1 if failed else 0


def _collect_less() -> None:
    """Requests leave next to no cyclic garbage, and to look for it among all that was imported holds them up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)


async def _leave(parts: Parts, delay: float) -> None:
    """Goes on serving for ``delay`` seconds while clients learn, by readiness and closed connections, to go elsewhere.

    Whoever routes requests here (endpoints, proxies, clients with kept connections) hears of the end some time after it
    was asked for.
    """
    parts.plane.leave()
    parts.plane.tell_siblings()
    parts.app.closing = True
    await asyncio.sleep(delay)


async def _drain(parts: Parts, server: HttpServer, timeout: float) -> None:
    """Refuses what is new, while HTTP and gRPC still answer, and finishes what is here."""
    end = time.monotonic() + timeout
    parts.app.closing = True
    await parts.plane.drain(timeout)
    await parts.upstream.aclose()
    # First of all no new connections: then every request that was taken in can still be answered.
    server.stop_listening()
    started = time.monotonic()
    while server.connections and time.monotonic() < min(end, started + _LEAVING):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def _announce(settings: Settings, http: socket.socket, grpc_port: int) -> None:
    fields = {"http_port": http.getsockname()[1], "grpc_port": grpc_port if settings.enable_grpc else None}
    logger.info("serving", extra={"fields": {**fields, "pid": os.getpid()}})


def _stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        logger.info("stopping: %s", signal.Signals(number).name)
        stop.set()

    for number in lifetime.STOPPING:
        loop.add_signal_handler(number, on_signal, number)
    # One that came while the process started was kept back where there are several processes.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, lifetime.STOPPING)
    return stop


async def _wait(stop: asyncio.Event, tasks: Set[asyncio.Task[None]]) -> bool:
    """Waits until told to stop, or until a task ends that never should; True for the latter."""
    stopped = asyncio.ensure_future(stop.wait())
    done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for task in done - {stopped}:
        if not task.cancelled() and task.exception() is not None:
            logger.error("a part of the server failed", exc_info=task.exception())
    return bool(done - {stopped})


async def _show_gauges(parts: Parts) -> None:
    while True:
        parts.metrics.open.set(parts.batcher.open_requests)
        parts.metrics.queue.set(parts.batcher.waiting.requests)
        parts.metrics.queue_rows.set(parts.batcher.waiting.rows)
        parts.metrics.in_flight.set(parts.batcher.in_flight)
        parts.metrics.tasks.set(len(asyncio.all_tasks()))
        parts.metrics.flush()
        parts.plane.tell_siblings()
        await asyncio.sleep(_GAUGES)
