"""TorchServe's metrics for those who scrape the wrapper: a pod then has one address to scrape, and one open port."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Callable, Optional

from kserve_wrapper.core.errors import WrapperError
from kserve_wrapper.upstream import once
from kserve_wrapper.upstream.address import Address, tls_context

logger = logging.getLogger(__name__)

#: Seconds that TorchServe gets to show its metrics; Prometheus waits 10 for the whole page unless told otherwise.
TIMEOUT = 2.0
#: Seconds for which what it showed is shown again: whoever reads the wrapper's page often does not load TorchServe.
FRESH = 1.0


class TorchServeMetrics:
    """TorchServe's metrics address, asked by one request at a time.

    Args:
        address: where it listens.
        certificate: TorchServe's certificate_file, for https.
        clock: monotonic seconds.
    """

    def __init__(
        self, address: Address, certificate: Optional[Path] = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = address
        self._tls = tls_context(address, certificate)
        self._clock = clock
        self._asking: Optional[asyncio.Task[Optional[bytes]]] = None
        self._fresh_until = 0.0

    async def text(self) -> Optional[bytes]:
        """What TorchServe shows, in Prometheus's text format; None where it cannot be had."""
        if self._asking is None or (self._asking.done() and self._clock() >= self._fresh_until):
            self._asking = asyncio.ensure_future(self._ask())
        # One reader that leaves takes nothing from the others.
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Optional[bytes]:
        headers = {"Accept": "text/plain; version=0.0.4"}
        try:
            answer = await once.request(self._address, self._tls, "GET", "/metrics", headers, TIMEOUT)
        except WrapperError as error:
            logger.info("metrics without TorchServe's: %s", error.message)
            return None
        finally:
            self._fresh_until = self._clock() + FRESH
        if answer.status != 200:
            logger.info("metrics without TorchServe's: its metrics address answered with status %d", answer.status)
            return None
        return answer.body if answer.body.endswith(b"\n") or not answer.body else answer.body + b"\n"
