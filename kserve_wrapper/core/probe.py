"""Whether a server answers yet, for whoever started it and waits."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Optional


def answers(url: str, body: Optional[bytes] = None, timeout: float = 5.0) -> bool:
    """Whether a request, a POST where there is a ``body``, is answered with 200 within ``timeout`` seconds."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=timeout) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        # Else Python 3.14 warns of it, wherever its garbage is found.
        error.close()
        return False
    except (OSError, ValueError, http.client.HTTPException):
        return False
