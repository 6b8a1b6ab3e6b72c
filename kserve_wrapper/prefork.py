"""Several server processes behind one port: ``--workers N``."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
from types import FrameType
from typing import Optional, Set

from kserve_wrapper.core import lifetime
from kserve_wrapper.core.siblings import Siblings
from kserve_wrapper.settings import Settings
from kserve_wrapper.torchserve.config import TorchServeConfig

logger = logging.getLogger(__name__)


def run_server_processes(settings: Settings, config: TorchServeConfig, http: socket.socket, grpc_port: int) -> int:
    """Forks ``settings.workers`` processes, passes signals on, and returns when all are gone.

    A process that ends unasked takes the others with it, so that whoever runs this starts it anew as a whole.

    Returns:
        0 when all of them drained as asked, else 1.
    """
    directory = tempfile.mkdtemp(prefix="ts-kserve-metrics-")
    # prometheus-client reads this when it is imported, which happens in the children only.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    children: Set[int] = set()
    # A signal that came between two forks would miss the later children: it is kept back until all are known. The
    # children take it when they can.
    signal.pthread_sigmask(signal.SIG_BLOCK, lifetime.STOPPING)
    stop = _pass_on_signals(children)
    siblings = Siblings(settings.workers)
    for number in range(settings.workers):
        children.add(_fork(settings, config, http, grpc_port, siblings, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, lifetime.STOPPING)
    http.close()
    try:
        return _wait(children, stop)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class _Stop:
    """Whether a signal has asked for the end."""

    requested = False


def _pass_on_signals(children: Set[int]) -> _Stop:
    stop = _Stop()

    def handle(number: int, frame: Optional[FrameType]) -> None:
        stop.requested = True
        _signal(children, number)

    for number in lifetime.STOPPING:
        signal.signal(number, handle)
    return stop


def _fork(
    settings: Settings, config: TorchServeConfig, http: socket.socket, grpc_port: int, siblings: Siblings, rank: int
) -> int:
    mine = os.getpid()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        for number in lifetime.STOPPING:
            signal.signal(number, signal.SIG_DFL)
        # Else they would hold the port while whoever runs this starts it anew.
        lifetime.end_with_parent(signal.SIGTERM, mine)
        from kserve_wrapper.process import run

        siblings.join(rank)
        status = run(settings, config, http, grpc_port, siblings)
    except OSError as error:
        logger.error("a server process failed: %s", error)
    except BaseException:
        logger.exception("a server process failed")
    finally:
        logging.shutdown()
        # Not sys.exit: the parent's clean-up is not ours.
        os._exit(status)


def _wait(children: Set[int], stop: _Stop) -> int:
    failed = False
    while children:
        child, status = os.wait()
        children.discard(child)
        clean = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
        if not clean or not stop.requested:
            failed = True
            logger.error("server process %d ended with status %d; stopping the others", child, status)
            _signal(children, signal.SIGTERM)
    return 1 if failed else 0


def _signal(children: Set[int], number: int) -> None:
    for child in list(children):
        try:
            os.kill(child, number)
        except ProcessLookupError:
            continue
