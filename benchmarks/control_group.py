"""Linux control groups, version 1 or 2: processes held to the processors and the memory of a small pod."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Dict, Iterator, List

#: Where the kernel shows them.
HOME = Path("/sys/fs/cgroup")
#: Microseconds over which processor time is counted.
PERIOD = 100_000


class CannotLimit(RuntimeError):
    """This process may not make control groups; the message says what it needs."""


class ControlGroup:
    """Limits for the processes that are put into it, and what they used.

    Args:
        name: of the group.
        processors: that may be busy at a time, on average.
        memory: bytes; beyond them the kernel ends a process.
    """

    def __init__(self, name: str, processors: float, memory: int) -> None:
        self._unified = (HOME / "cgroup.controllers").exists()
        if self._unified:
            self._cpu = self._memory = HOME / name
        else:
            self._cpu, self._memory = HOME / "cpu" / name, HOME / "memory" / name
        try:
            for folder in self.folders():
                folder.mkdir(exist_ok=True)
            self._limit(int(processors * PERIOD), memory)
        except OSError as error:
            self.remove()
            raise CannotLimit(f"{error}: run as root where {HOME} can be written") from error

    def folders(self) -> List[Path]:
        return sorted({self._cpu, self._memory})

    def _limit(self, quota: int, memory: int) -> None:
        if self._unified:
            (HOME / "cgroup.subtree_control").write_text("+cpu +memory")
            (self._cpu / "cpu.max").write_text(f"{quota} {PERIOD}")
            (self._memory / "memory.max").write_text(str(memory))
            return
        (self._cpu / "cpu.cfs_period_us").write_text(str(PERIOD))
        (self._cpu / "cpu.cfs_quota_us").write_text(str(quota))
        (self._memory / "memory.limit_in_bytes").write_text(str(memory))

    def enter(self) -> None:
        """Puts the calling process into it; its children follow."""
        for folder in self.folders():
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def memory(self) -> Dict[str, float]:
        """MiB in use now that cannot be given back, the most that ever was in use (file pages too), and kills."""
        now = _fields(self._memory / "memory.stat")
        if self._unified:
            most = int((self._memory / "memory.peak").read_text())
            kills = _fields(self._memory / "memory.events")["oom_kill"]
            resident = now["anon"]
        else:
            most = int((self._memory / "memory.max_usage_in_bytes").read_text())
            kills = _fields(self._memory / "memory.oom_control").get("oom_kill", 0)
            resident = now["total_rss"]
        return {"resident_mib": resident / 2**20, "most_mib": most / 2**20, "kills": kills}

    def remove(self) -> None:
        """Once its processes have ended; waits for them for a moment."""
        for folder in self.folders():
            for _ in range(50):
                with contextlib.suppress(FileNotFoundError):
                    try:
                        folder.rmdir()
                    except OSError:
                        time.sleep(0.1)
                        continue
                break


def _fields(path: Path) -> Dict[str, int]:
    """Lines of ``name value``."""
    pairs = (line.split() for line in path.read_text().splitlines())
    return {name: int(value) for name, value in pairs}


@contextlib.contextmanager
def limited(name: str, processors: float, memory: int) -> Iterator[ControlGroup]:
    """A group that is removed at the end. Raises CannotLimit."""
    group = ControlGroup(name, processors, memory)
    try:
        yield group
    finally:
        group.remove()
