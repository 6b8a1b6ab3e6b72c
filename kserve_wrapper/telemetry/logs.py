"""Logs as one JSON object a line."""

from __future__ import annotations

import json
import logging
import logging.config
import time
from pathlib import Path
from typing import Any, Dict

import orjson

from kserve_wrapper.settings import Settings


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
