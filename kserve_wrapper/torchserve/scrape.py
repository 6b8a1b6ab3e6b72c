"""TorchServe's metrics for those who scrape the wrapper: a pod then has one address to scrape, and one open port."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from kserve_wrapper.errors import BadGateway
from kserve_wrapper.torchserve import client
from kserve_wrapper.torchserve.address import Address, tls_context

#: Seconds that TorchServe gets to show its metrics; Prometheus waits 10 for the whole page unless told otherwise.
TIMEOUT = 2.0


class TorchServeMetrics:
    """TorchServe's metrics address.

    Args:
        address: where it listens.
        certificate: TorchServe's certificate_file, for https.
    """

    def __init__(self, address: Address, certificate: Optional[Path] = None) -> None:
        self._address = address
        self._tls = tls_context(address, certificate)

    async def text(self) -> bytes:
        """What TorchServe shows, in Prometheus's text format; empty unless ``metrics_mode=prometheus``.

        Raises:
            WrapperError: it could not be had, or is not that format.
        """
        headers = {"Accept": "text/plain; version=0.0.4"}
        status, body = await client.request(self._address, self._tls, "GET", "/metrics", headers, TIMEOUT, "metrics")
        if status != 200:
            raise BadGateway(f"TorchServe's metrics address answered with status {status}")
        return body if body.endswith(b"\n") or not body else body + b"\n"
