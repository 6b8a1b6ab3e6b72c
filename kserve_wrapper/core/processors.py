"""How many processors this process may use: what it is scheduled on, and the quota of its container."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

CGROUP = Path("/sys/fs/cgroup")


def available(cgroup: Path = CGROUP) -> float:
    """Processors, at least a hundredth of one; a quota may be a part of one.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and cgroup-v1's cpu.cfs_quota_us.
    """
    scheduled = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return scheduled if quota is None else max(0.01, min(scheduled, quota))


def _quota(cgroup: Path) -> Optional[float]:
    """None where the container has none, or the system tells none."""
    try:
        if (cgroup / "cpu.max").is_file():
            most, period = (cgroup / "cpu.max").read_text().split()
        else:
            most = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        return None if most in ("max", "-1") else int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
