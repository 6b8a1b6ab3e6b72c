"""The listening socket, made before anything heavy is imported."""

from __future__ import annotations

import socket


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
