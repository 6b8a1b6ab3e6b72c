"""Ends with 0 when the wrapper says that it is ready, else with 1: the image's HEALTHCHECK."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request


def ready(url: str, seconds: float = 3.0) -> bool:
    """Whether a GET of ``url`` is answered with 200 within the given seconds."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


if __name__ == "__main__":
    port = os.environ.get("KSERVE_WRAPPER_HTTP_PORT", "8080")
    sys.exit(0 if ready(f"http://127.0.0.1:{port}/v2/health/ready") else 1)
