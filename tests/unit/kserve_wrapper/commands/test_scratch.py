"""A command's folder: gone at its end, and what killed ones left is gone with the next; what runs is let be."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from kserve_wrapper.commands.scratch import scratch

HOLDS = """
import sys
from kserve_wrapper.commands.scratch import scratch
with scratch("test-") as folder:
    (folder / "models").mkdir()
    (folder / "models" / "x.mar").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_gone_at_the_end(place: Path) -> None:
    with scratch("test-") as folder:
        assert folder.parent == place
        (folder / "x").touch()
    with pytest.raises(KeyError), scratch("test-"):
        raise KeyError
    assert list(place.iterdir()) == []


def test_what_a_killed_one_left_is_removed_by_the_next(place: Path) -> None:
    command = [sys.executable, "-c", HOLDS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        with scratch("test-"):
            assert (left / "models" / "x.mar").exists(), "its process runs"
        process.kill()
    assert left.exists()
    with scratch("test-"):
        assert not left.exists()


def test_what_is_not_known_to_be_left_stays(place: Path) -> None:
    (place / "test-new").mkdir()
    (place / "other-x").mkdir()
    target = place / "elsewhere"
    target.mkdir()
    (target / "in-use").touch()
    (place / "test-link").symlink_to(target)
    old, new = place / "test-1.log", place / "test-2.log"
    for log in old, new:
        log.touch()
    os.utime(old, (0, time.time() - 2 * 24 * 3600))
    with scratch("test-"):
        pass
    assert sorted(path.name for path in place.iterdir()) == [
        "elsewhere",
        "other-x",
        "test-2.log",
        "test-link",
        "test-new",
    ]
    assert (target / "in-use").exists()
