"""How many processors this worker may use, by affinity and the container's CPU quota, and its share beside others."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Iterator, Optional, Tuple

#: The script that TorchServe starts each of its workers with.
_WORKER = b"model_service_worker.py"


def usable(root: Path = Path("/")) -> int:
    """Processors that this process may run on, no more than its container's quota, at least 1.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def share(root: Path = Path("/")) -> int:
    """This worker's equal part of :func:`usable`, among the workers that the same TorchServe has now; at least 1."""
    return max(1, usable(root) // workers(root))


def cpu_quota(root: Path = Path("/")) -> Optional[float]:
    """Processors that the control groups of this process allow, the least of them; None = no limit.

    A container sees its own group at the root of the file system, a process outside at its path; groups above
    count too.
    """
    found = [quota for folder in _groups(root) for quota in (_quota(folder),) if quota is not None]
    return min(found, default=None)


def workers(root: Path = Path("/")) -> int:
    """TorchServe workers with this process's parent, itself included; at least 1."""
    parent = os.getppid()
    return max(1, sum(_is_worker(folder, parent) for folder in (root / "proc").glob("[0-9]*")))


def _groups(root: Path) -> Iterator[Path]:
    """Folders of this process's control groups for CPU time, versions 2 and 1, each with those above it."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    paths = {"sys/fs/cgroup": "/", "sys/fs/cgroup/cpu": "/"}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            paths["sys/fs/cgroup"] = path
        elif "cpu" in controllers.split(","):
            paths["sys/fs/cgroup/cpu"] = path
    for mount, path in paths.items():
        below = Path(path.strip("/"))
        yield from (root / mount / part for part in (below, *below.parents))


def _quota(folder: Path) -> Optional[float]:
    limit, period = _numbers(folder / "cpu.max")
    if limit is None:
        limit, period = _numbers(folder / "cpu.cfs_quota_us")[0], _numbers(folder / "cpu.cfs_period_us")[0]
    return limit / period if limit and period and limit > 0 and period > 0 else None


def _numbers(file: Path) -> Tuple[Optional[float], Optional[float]]:
    """The first two numbers of a file; None for what is missing or a word (``max``)."""
    try:
        words = file.read_text().split()
    except OSError:
        words = []
    first, second = ([*words, "", ""])[:2]
    return tuple(float(word) if word.lstrip("-").isdigit() else None for word in (first, second))  # type: ignore[return-value]


def _is_worker(folder: Path, parent: int) -> bool:
    try:
        # The name in brackets may hold anything, also brackets and spaces.
        status = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        return int(status[1]) == parent and _WORKER in (folder / "cmdline").read_bytes()
    except (OSError, IndexError, ValueError):  # it ended meanwhile
        return False
