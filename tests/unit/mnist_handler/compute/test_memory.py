"""What was freed goes back to the system."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest

from mnist_handler.compute.memory import give_back


def resident_mib() -> int:
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc_trim is glibc's")
def test_what_the_c_library_keeps_goes_back() -> None:
    blocks = [bytearray(b"x" * 64 * 1024) for _ in range(4000)]
    kept = blocks[::100]
    del blocks
    before = resident_mib()
    give_back()
    assert before - resident_mib() > 150
    assert all(block == b"x" * 64 * 1024 for block in kept)
