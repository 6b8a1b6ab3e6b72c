"""A running system, as the tests talk to it."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Served:
    """The wrapper's addresses and the log of all that was started."""

    base: str
    grpc: str
    log: Path

    def exchange(
        self, path: str, body: Optional[bytes] = None, headers: Optional[Mapping[str, str]] = None, method: str = ""
    ) -> tuple[int, Any]:
        """One request; (status, parsed JSON)."""
        status, content, _ = self.raw(path, body, headers, method)
        return status, json.loads(content)

    def raw(
        self, path: str, body: Optional[bytes] = None, headers: Optional[Mapping[str, str]] = None, method: str = ""
    ) -> tuple[int, bytes, dict[str, str]]:
        """One request, POST where there is a body; (status, body, headers in lower case)."""
        connection = http.client.HTTPConnection(urlsplit(self.base).netloc, timeout=60)
        try:
            verb = method or ("GET" if body is None else "POST")
            connection.request(verb, path, body, dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}
        finally:
            connection.close()

    def post(self, path: str, document: Any) -> Any:
        """POST JSON; the parsed answer of a request that must succeed."""
        status, answer = self.exchange(path, json.dumps(document).encode(), {"Content-Type": "application/json"})
        assert status == 200, answer
        return answer

    def get(self, path: str) -> Any:
        """GET; the parsed answer of a request that must succeed."""
        status, answer = self.exchange(path)
        assert status == 200, answer
        return answer
