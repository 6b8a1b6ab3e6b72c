"""Listening sockets and free ports, without anything heavy to import."""

from __future__ import annotations

import itertools
import random
import socket
from typing import Optional, Set

#: Connections that wait to be accepted.
BACKLOG = 2048
#: Linux takes the ports of outgoing connections from 32768 on.
_BELOW_EPHEMERAL = (20000, 32768)
#: Times that such a port is drawn.
_TRIES = 100
#: Not the generator that a program seeds: two programs of one seed would draw the same ports.
_OWN = random.SystemRandom()
#: What ``free_port`` has given.
_given: Set[int] = set()


def bind(host: str, port: int, share: bool = False) -> socket.socket:
    """A TCP socket, bound and not yet listening.

    Args:
        host: an address; with a colon it is IPv6's.
        port: 0 takes a free one.
        share: whether other sockets may bind the same port, too.

    Raises:
        OSError: names the address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OSError(f"cannot listen at {host}:{port}: {error.strerror or error}") from None
    bound.set_inheritable(True)
    return bound


def listen(bound: socket.socket) -> None:
    """Has a bound socket listen. Raises OSError, which names the address: somebody else may listen there by now."""
    try:
        bound.listen(BACKLOG)
    except OSError as error:
        host, port = bound.getsockname()[:2]
        raise OSError(f"cannot listen at {host}:{port}: {error.strerror or error}") from None


def free_port() -> int:
    """A TCP port of the loopback address that nothing uses now, each a new one.

    Until somebody binds it, somebody else may take it: so it is drawn at random from where the kernel does not look for
    the ports of outgoing connections, and only where all of these are taken from there.
    """
    candidates = itertools.chain((_OWN.randrange(*_BELOW_EPHEMERAL) for _ in range(_TRIES)), itertools.repeat(0))
    port = next(port for port in map(_unused, candidates) if port is not None and port not in _given)
    _given.add(port)
    return port


def _unused(port: int) -> Optional[int]:
    """The port, or for 0 one that the kernel chooses; None where it is taken at some address."""
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return None
        found: int = probe.getsockname()[1]
        return found
