"""Asks the wrapper whether it and TorchServe are alive; the wrapper follows TorchServe, so one question is enough."""

from __future__ import annotations

import http.client
import ssl
import time
from typing import Optional

_EVERY, _TIMEOUT = 2.0, 1.0


class Probe:
    """The liveness of the wrapper as seen from the supervisor.

    Args:
        host, port: where the wrapper's HTTP is reached from here.
        tls: it speaks TLS there.
        hang_limit: seconds of silence that are borne. That TorchServe is gone, the wrapper says after as long.
    """

    def __init__(self, host: str, port: int, tls: bool, hang_limit: float) -> None:
        self._host, self._port, self._tls, self._hang_limit = host, port, tls, hang_limit
        self._answered = time.monotonic()
        self._next = 0.0

    def pause(self) -> float:
        """Seconds until the next question."""
        return max(0.0, self._next - time.monotonic())

    def ask(self) -> Optional[str]:
        """What is wrong, or None; asks only when it is time."""
        now = time.monotonic()
        if now < self._next:
            return None
        status = self._status()
        self._next = time.monotonic() + _EVERY
        if status is None:
            silent = now - self._answered
            return f"the wrapper has not answered for {silent:.0f} s" if silent > self._hang_limit else None
        self._answered = now
        if status == 503:
            return "TorchServe hangs or does not recover (why, the wrapper logs as 'not live any more')"
        return None

    def _status(self) -> Optional[int]:
        connection = self._connect()
        try:
            connection.request("GET", "/v2/health/live")
            return connection.getresponse().status
        except ssl.SSLError:
            # It asks for a client's certificate: it lives, and more it does not tell.
            return 0
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        # The certificate is made out to the name that clients use; this asks the process next door.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(self._host, self._port, timeout=_TIMEOUT, context=context)
