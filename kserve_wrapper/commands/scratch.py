"""A command's folder for what it needs while it runs, removed at its end, or by the next one where it was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Iterator

_LOCK = "in-use"
#: Seconds for which a log that told of a failure is kept.
_KEPT = 24 * 3600.0


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A folder of one's own; what killed processes left under the same prefix is removed first.

    Args:
        prefix: of the folder, and of the log files that lie beside it: ``{prefix}NUMBER.log``.

    Raises:
        OSError: there is no place for it.
    """
    remove_left(Path(tempfile.gettempdir()), prefix)
    with tempfile.TemporaryDirectory(prefix=prefix) as folder, open(Path(folder) / _LOCK, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(folder)


def remove_left(directory: Path, prefix: str) -> None:
    """Removes this user's folders that no process holds, and logs a day old; what cannot be removed stays."""
    for path in directory.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            found = path.lstat()
            if found.st_uid != os.getuid():
                continue
            if path.suffix == ".log" and time.time() - found.st_mtime > _KEPT:
                path.unlink()
            elif path.suffix != ".log" and not path.is_symlink() and not _held(path / _LOCK):
                shutil.rmtree(path)


def _held(lock: Path) -> bool:
    """Whether a process runs that made it. Raises OSError where there is none, as in a folder of just now."""
    number = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(number)
    return False
