"""A container's quota counts, however many processors its node has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict

import pytest

from kserve_wrapper.core.processors import available

SCHEDULED = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({}, SCHEDULED),
        ({"cpu.max": "max 100000\n"}, SCHEDULED),
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"cpu.max": "6400000 100000\n"}, SCHEDULED),
        ({"cpu.max": "nonsense\n"}, SCHEDULED),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, SCHEDULED),
        ({"cpu/cpu.cfs_quota_us": "25000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.25),
        ({"cpu/cpu.cfs_quota_us": "25000\n", "cpu/cpu.cfs_period_us": "0\n"}, SCHEDULED),
    ],
)
def test_the_quota_bounds_what_is_scheduled(files: Dict[str, str], processors: float, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert available(tmp_path) == processors
