"""The file in which requests travel to a load generator: simple enough for a few lines of Lua.

For each request: a line ``PATH HEADERS BODY-BYTES``, that many lines ``Name: value``, the body, a newline.
"""

from __future__ import annotations

from pathlib import Path
from typing import List, Sequence

from benchmarks.payloads import HttpRequest


def write_requests(path: Path, requests: Sequence[HttpRequest]) -> Path:
    """Writes the requests in order and returns ``path``."""
    with path.open("wb") as file:
        for request in requests:
            file.write(f"{request.path} {len(request.headers)} {len(request.body)}\n".encode())
            for name, value in request.headers.items():
                file.write(f"{name}: {value}\n".encode())
            file.write(request.body + b"\n")
    return path


def read_requests(path: Path) -> List[HttpRequest]:
    """The requests of a file that ``write_requests`` wrote; rows are not kept and read as 1."""
    requests = []
    with path.open("rb") as file:
        while True:
            line = file.readline()
            if not line:
                return requests
            target, headers, size = line.decode().split()
            # Read before the body, which comes after them.
            pairs = [file.readline().decode().rstrip("\n").split(": ", 1) for _ in range(int(headers))]
            body = file.read(int(size))
            file.read(1)
            requests.append(HttpRequest(target, body, 1, dict(pairs)))
