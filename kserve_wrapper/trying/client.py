"""The server that is tried: its models, their metadata, their answers, and its errors in its own words."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

#: In the words of a 413.
_LIMIT = re.compile(r"\b([0-9]{1,12}) bytes")
#: Seconds until an answer is given up; explanations of photographs take their time.
TIMEOUT = 120.0


class ServerError(Exception):
    """No answer of use; the message is the server's own words, or says that there is no server.

    Args:
        limit: bytes of a body that the server takes, where it refused a larger one and says so.
    """

    def __init__(self, message: str, limit: Optional[int] = None) -> None:
        super().__init__(message)
        self.limit = limit


@dataclass(frozen=True)
class Reply:
    """An answer and how long it took, in seconds, as seen from here."""

    body: Any
    seconds: float


class Server:
    """One server.

    Args:
        base: ``http://HOST:PORT``, with or without a path.

    Raises:
        ValueError: ``base`` is no such address.
    """

    def __init__(self, base: str) -> None:
        parts = urllib.parse.urlsplit(base if "://" in base else f"http://{base}")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"{base!r} is no address of a server: give one like http://127.0.0.1:8080")
        self.base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"

    def models(self) -> List[str]:
        """Names of the models. Raises ServerError."""
        names = self._call("/v2/models").body.get("models", [])
        return [str(name) for name in names]

    def metadata(self, model: str) -> Dict[str, Any]:
        """The V2 metadata of a model. Raises ServerError."""
        body: Dict[str, Any] = self._call(self.path(model, "")).body
        return body

    def ask(self, model: str, verb: str, request: Any) -> Reply:
        """``infer`` or ``explain``. Raises ServerError."""
        return self._call(self.path(model, f"/{verb}"), json.dumps(request).encode())

    @staticmethod
    def path(model: str, rest: str) -> str:
        """The path of a model's verb."""
        return f"/v2/models/{urllib.parse.quote(model, safe='')}{rest}"

    def _call(self, path: str, body: Optional[bytes] = None) -> Reply:
        request = urllib.request.Request(self.base + path, data=body, headers={"Content-Type": "application/json"})
        began = time.perf_counter()
        try:
            # No proxy: what is tried is beside us or was named.
            with _OPENER.open(request, timeout=TIMEOUT) as response:
                content = response.read()
        except urllib.error.HTTPError as error:
            with error:
                told = _told(error.read())
            limit = _LIMIT.search(told) if error.code == 413 else None
            raise ServerError(f"{error.code}: {told}", None if limit is None else int(limit[1])) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise ServerError(f"no answer from {self.base}: {reason}. Is the server running?") from None
        seconds = time.perf_counter() - began
        parsed, told = _parse(content)
        if not isinstance(parsed, dict):
            raise ServerError(f"{self.base}{path} answered what is no object of the protocol: {told}")
        return Reply(parsed, seconds)


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _parse(content: bytes) -> Tuple[Any, str]:
    text = content.decode("utf-8", "replace")
    try:
        return json.loads(text), text[:200]
    except ValueError:
        return None, text[:200]


def _told(content: bytes) -> str:
    """The message in an error's body."""
    parsed, text = _parse(content)
    if isinstance(parsed, dict) and isinstance(parsed.get("error"), str):
        return str(parsed["error"])
    return text or "no message"
