"""What workers print and TorchServe says of them, in a file that the supervisor has TorchServe write.

A message is ``MILLISECONDS, tab, THREAD, tab, LOGGER, tab, TEXT``; a line without these belongs to the message before.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

NAME = "loads.log"
#: Where the wrapper looks, when set.
VARIABLE = "TS_KSERVE_LOAD_LOG"
#: What begins the traceback of a request that failed: the model had loaded.
OF_A_REQUEST = (
    "Invoking custom service failed.",
    "Unable to serialize model output.",
    "Prediction error",
    "System out of memory",
    "CUDA out of memory",
)
TRACEBACK = "Traceback (most recent call last):"
#: TorchServe names a worker's thread by port, the model's first 25 characters, and version.
_WORKER = re.compile(r"W-[0-9]+-(.+)-std(?:out|err)\Z")
#: Its own thread that follows the worker, by the same name.
_FOLLOWER = re.compile(r"W-[0-9]+-(.+)\Z")
_NAME = 25
_HEAD = re.compile(r"([0-9]{1,15})\t([^\t]*)\t([^\t]*)\t")

#: Modification time, size and number of a file: others where it has changed.
Stamp = Tuple[int, int, int]


class Record(NamedTuple):
    """One message; ``time`` in seconds since the epoch."""

    time: float
    thread: str
    lines: List[str]

    @property
    def worker(self) -> Optional[str]:
        """``worker_name`` of the worker that printed it; None where TorchServe said it."""
        found = _WORKER.match(self.thread)
        return found.group(1) if found else None

    @property
    def follows(self) -> Optional[str]:
        """``worker_name`` of the worker that TorchServe speaks of; None where a worker printed it, or it is of none."""
        found = _FOLLOWER.match(self.thread) if self.worker is None else None
        return found.group(1) if found else None

    @property
    def place(self) -> str:
        """The same for all that is printed by, and said of, the workers of one port one after the other."""
        return self.thread[: -len("-stdout")] if self.worker is not None else self.thread


def worker_name(model: str, version: str) -> str:
    """As threads' names have it."""
    return f"{model[:_NAME]}_{version}"


def find(environ: Mapping[str, str]) -> Optional[Path]:
    """The file that the supervisor named; without a supervisor there is none."""
    named = environ.get(VARIABLE)
    return Path(named) if named else None


def stamp(path: Path) -> Stamp:
    """Raises OSError where there is no such file yet."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def tail(path: Path, size: int) -> List[str]:
    """The lines of the last ``size`` bytes. Raises OSError."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - size))
        return file.read(size).decode("utf-8", "replace").splitlines()


def records(lines: Iterable[str]) -> Iterator[Record]:
    """The messages; what stands before the first is passed over."""
    record: Optional[Record] = None
    for line in lines:
        head = _HEAD.match(line)
        if head is not None:
            if record is not None:
                yield record
            record = Record(int(head[1]) / 1000, head[2], [line[head.end() :]])
        elif record is not None:
            record.lines.append(line)
    if record is not None:
        yield record
