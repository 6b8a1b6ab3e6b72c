"""A worker's processors, read from a file system laid out as a container's or a host's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict

import pytest

from mnist_handler.compute.cpu_share import cpu_quota, share, usable, workers


def lay(root: Path, files: Dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        # Outside of a container's own view: the group's folder, and one above it that allows less.
        (
            {
                "proc/self/cgroup": "0::/pods/a:b\n",
                "sys/fs/cgroup/pods/a:b/cpu.max": "400000 100000",
                "sys/fs/cgroup/pods/cpu.max": "300000 100000",
            },
            3.0,
        ),
        # Version 1; -1 is no limit.
        (
            {
                "proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/docker/x\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_the_quota_is_that_of_the_strictest_group(files: Dict[str, str], quota: float, tmp_path: Path) -> None:
    assert cpu_quota(lay(tmp_path, files)) == quota


def test_a_quota_below_the_affinity_counts(tmp_path: Path) -> None:
    everything = usable(tmp_path)
    lay(tmp_path, {"sys/fs/cgroup/cpu.max": "50000 100000"})
    assert usable(tmp_path) == 1 <= everything == len(os.sched_getaffinity(0))


def test_other_workers_of_the_same_parent_share(tmp_path: Path) -> None:
    assert workers(tmp_path) == 1  # nothing known: this one
    parent = os.getppid()
    for pid, above, command in ((10, parent, True), (11, parent, True), (12, parent, False), (13, 1, True)):
        script = "model_service_worker.py" if command else "other.py"
        files = {"stat": f"{pid} (py) thon) S {above} 0 0", "cmdline": f"python\0/site/ts/{script}\0--sock-type\0unix"}
        lay(tmp_path, {f"proc/{pid}/{name}": text for name, text in files.items()})
    assert workers(tmp_path) == 2
    assert share(tmp_path) == max(1, usable(tmp_path) // 2)
