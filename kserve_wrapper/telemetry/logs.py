"""Logs as one JSON object a line, and the line for each request."""

from __future__ import annotations

import json
import logging
import logging.config
import time
from pathlib import Path
from typing import Any, Dict, Optional

import orjson

from kserve_wrapper.httpd.messages import Request
from kserve_wrapper.settings import Settings

access_logger = logging.getLogger("kserve_wrapper.access")


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message"}`` and whatever the record carries under ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        milliseconds = int(record.msecs)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        content: Dict[str, Any] = {
            "time": f"{stamp}.{milliseconds:03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        content.update(getattr(record, "fields", {}))
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(content, default=str).decode()


def configure(settings: Settings) -> None:
    """Sets up logging to standard error, or as --log_config_file says.

    Raises:
        ValueError: the file cannot be read or is no logging configuration.
    """
    if not settings.configure_logging:
        return
    if settings.log_config_file is not None:
        _configure_from_file(Path(settings.log_config_file))
        return
    level = logging.getLevelName(settings.log_level.upper())
    if not isinstance(level, int):
        raise ValueError(f"--log_level: {settings.log_level!r} is no level")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _configure_from_file(path: Path) -> None:
    try:
        text = path.read_text()
        if path.suffix in (".yaml", ".yml"):
            import yaml

            content = yaml.safe_load(text)
        else:
            content = json.loads(text)
        logging.config.dictConfig(content)
    except (OSError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise ValueError(f"--log_config_file {path}: {error}") from None


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
