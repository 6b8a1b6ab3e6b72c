"""Asks the wrapper whether it and TorchServe are alive; the wrapper follows TorchServe, so one question is enough."""

from __future__ import annotations

import asyncio
import ssl
from typing import Optional

from kserve_wrapper.core.clocks import RunningClock
from kserve_wrapper.core.errors import WrapperError
from kserve_wrapper.upstream import once
from kserve_wrapper.upstream.address import Address
from kserve_wrapper.upstream.connection import Interrupted

_EVERY, _TIMEOUT = 2.0, 1.0


class Probe:
    """The liveness of the wrapper as seen from the supervisor.

    Args:
        host, port: where the wrapper's HTTP is reached from here.
        tls: it speaks TLS there.
        hang_limit: seconds of silence that are borne, while this process runs. That TorchServe is gone, the wrapper
            says after as long.
    """

    def __init__(self, host: str, port: int, tls: bool, hang_limit: float) -> None:
        self._address = Address("https" if tls else "http", host, port, host)
        self._tls = _tls() if tls else None
        self._hang_limit = hang_limit
        self._clock = RunningClock(2 * (_EVERY + _TIMEOUT))
        self._answered = self._clock()
        self._next = 0.0

    def pause(self) -> float:
        """Seconds until the next question."""
        return max(0.0, self._next - self._clock())

    def ask(self) -> Optional[str]:
        """What is wrong, or None; asks only when it is time."""
        now = self._clock()
        if now < self._next:
            return None
        status = self._status()
        self._next = self._clock() + _EVERY
        if status is None:
            silent = now - self._answered
            return f"the wrapper has not answered for {silent:.0f} s" if silent > self._hang_limit else None
        self._answered = now
        if status == 503:
            return "TorchServe hangs or does not recover (why, the wrapper logs as 'not live any more')"
        return None

    def _status(self) -> Optional[int]:
        """The answer's status; None where none came, 0 where the wrapper lives and does not tell."""
        try:
            return asyncio.run(
                once.request(self._address, self._tls, "GET", "/v2/health/live", {}, _TIMEOUT, "the wrapper")
            ).status
        except WrapperError as error:
            # A wrapper that asks for a client's certificate lives and tells no more: it says so in the handshake, or
            # closes the connection right after it.
            refused = isinstance(error, Interrupted) and self._tls is not None
            return 0 if refused or isinstance(error.__cause__, ssl.SSLError) else None


def _tls() -> ssl.SSLContext:
    """The certificate is made out to the name that clients use; this asks the process next door."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
