"""TorchServe's addresses: how it writes them, and how to reach them."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

_PATTERN = re.compile(r"(https?)://([^:^/]+)(?::([0-9]+))?", re.IGNORECASE)
_EVERYWHERE = ("0.0.0.0", "::", "*")
#: The port of an address that names none, by purpose: (http, https). Source: TorchServe's Connector.
_PORTS = {"inference": (80, 443), "management": (8081, 8444), "metrics": (8082, 8445)}


@dataclass(frozen=True)
class Address:
    """Where to dial. ``bind`` is the host as TorchServe binds it (0.0.0.0 is dialled as 127.0.0.1)."""

    scheme: str
    host: str
    port: int
    bind: str
    #: inference, management or metrics; two addresses may be one.
    purpose: str = field(default="management", compare=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """As a Host header has it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        return self.host == "localhost" or self.host.startswith("127.")


def parse(text: str, purpose: str) -> Address:
    """Parse ``http://HOST:PORT`` or ``https://HOST:PORT``.

    Args:
        purpose: inference, management or metrics: it decides the port where none is written.

    Raises:
        ValueError: TorchServe would refuse it, or it is a Unix socket.
    """
    if text.lower().startswith("unix:"):
        raise ValueError("a Unix socket cannot be dialled here; write http://127.0.0.1:PORT")
    match = _PATTERN.fullmatch(text)
    if match is None and "://[" in text:
        raise ValueError(f"'{text}': TorchServe takes no IPv6 address; write http://0.0.0.0:PORT or 127.0.0.1")
    if match is None:
        raise ValueError(f"'{text}' is no address; write http://HOST:PORT, no path and no blank after it")
    scheme, bind = match.group(1).lower(), match.group(2)
    port = int(match.group(3)) if match.group(3) else _PORTS[purpose][scheme == "https"]
    if port > 65534:
        raise ValueError(f"port {port} is too high; TorchServe takes up to 65534")
    host = "127.0.0.1" if bind in _EVERYWHERE else bind
    return Address(scheme, host, port, bind, purpose)


def tls_context(address: Address, certificate: Optional[Path]) -> Optional[ssl.SSLContext]:
    """How to speak TLS to an address of TorchServe; None for http.

    The configured certificate is trusted as it stands: TorchServe's are usually self-signed and made out to
    another name. On loopback, where TorchServe makes one itself or keeps it in a key store, none is asked for.
    """
    if address.scheme != "https":
        return None
    context = ssl.create_default_context()
    if certificate is not None:
        context.load_verify_locations(str(certificate))
        context.check_hostname = False
    elif address.loopback:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
