"""What is counted and logged of each HTTP request."""

from __future__ import annotations

import logging
import time
from typing import Any, Dict, Optional

from kserve_wrapper.httpd.messages import Request
from kserve_wrapper.telemetry.metrics import Metrics

access_logger = logging.getLogger("kserve_wrapper.access")


class RequestObserver:
    """Counts and logs HTTP requests.

    Args:
        metrics: counts.
        log: None logs nothing.
    """

    def __init__(self, metrics: Metrics, log: Optional[AccessLog]) -> None:
        self._metrics = metrics
        self._log = log

    def __call__(self, request: Request, route: str, status: int, seconds: float, size: int) -> None:
        self._metrics.count_request("http", route, status, seconds)
        if self._log is not None:
            self._log.write(request, route, status, seconds, size)


class AccessLog:
    """The line for each HTTP request.

    Args:
        template: %-style over ``access_fields``, or None for JSON.
    """

    def __init__(self, template: Optional[str] = None) -> None:
        self._template = template

    def write(self, request: Request, route: str, status: int, seconds: float, size: int) -> None:
        fields = access_fields(request, route, status, seconds, size)
        if self._template is None:
            access_logger.info("request", extra={"fields": fields})
        else:
            access_logger.info(self._template % _Atoms(fields))


def access_fields(request: Request, route: str, status: int, seconds: float, size: int) -> Dict[str, Any]:
    """What is said of a request. Nothing of its body, and no header but its id and trace."""
    fields = {
        "request_id": request.id,
        "client": request.client,
        "method": request.method,
        "path": request.raw_path.decode("latin-1"),
        "route": route,
        "status": status,
        "milliseconds": round(seconds * 1000, 3),
        "bytes": size,
    }
    trace = request.header(b"traceparent")
    if trace is not None:
        fields["traceparent"] = trace
    return fields


class _Atoms(Dict[str, Any]):
    """The fields, also by the one-letter names of web servers' access logs (``h``, ``r``, ``s``, ``D`` …)."""

    def __init__(self, fields: Dict[str, Any]) -> None:
        super().__init__(fields)
        line = f"{fields['method']} {fields['path']} HTTP/1.1"
        self.update(
            h=fields["client"], l="-", u="-", t=time.strftime("[%d/%b/%Y:%H:%M:%S %z]"), r=line,
            m=fields["method"], U=fields["path"], q="", H="HTTP/1.1", s=fields["status"], st=fields["status"],
            B=fields["bytes"], b=fields["bytes"] or "-", f="-", a="-", T=int(fields["milliseconds"] / 1000),
            D=int(fields["milliseconds"] * 1000), L=f"{fields['milliseconds'] / 1000:.6f}", p="-",
            client_addr=fields["client"], request_line=line, status_code=fields["status"],
        )  # fmt: skip

    def __missing__(self, key: str) -> str:
        return "-"
