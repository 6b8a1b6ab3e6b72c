"""The OpenAPI description."""

from __future__ import annotations

from typing import Any, Dict


def document() -> Dict[str, Any]:
    return {}


def page() -> bytes:
    return b""
