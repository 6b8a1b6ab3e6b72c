"""Free ports: each another one, usable, and not from where the kernel takes those of outgoing connections."""

from __future__ import annotations

import socket

from kserve_wrapper.core import sockets


def test_each_is_another_and_can_be_bound() -> None:
    ports = [sockets.free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(20000 <= port < 32768 for port in ports)
    with sockets.bind("127.0.0.1", ports[0]) as bound:
        assert bound.getsockname()[1] == ports[0]


def test_one_that_is_taken_at_any_address_is_not_given() -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        assert sockets._unused(taken.getsockname()[1]) is None
