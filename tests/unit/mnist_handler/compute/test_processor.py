"""What a processor can do, out of what Linux tells of it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from mnist_handler.compute import processor

HASWELL = (
    "fpu cx16 lahf_lm abm movbe popcnt sse sse2 ssse3 sse4_1 sse4_2 avx avx2 bmi1 bmi2 f16c fma constant_tsc hypervisor"
)


@pytest.fixture(autouse=True)
def x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


def cpuinfo(folder: Path, *flags: str) -> Path:
    path = folder / "cpuinfo"
    processors = [f"processor\t: {number}\nflags\t\t: {one}\nbugs\t\t:\n" for number, one in enumerate(flags)]
    path.write_text("\n".join(processors))
    return path


def test_the_baseline_is_haswells(tmp_path: Path) -> None:
    wanted = processor.needed(processor.BASELINE)
    assert processor.lacking(wanted, cpuinfo(tmp_path, HASWELL)) == ""
    older = HASWELL.replace(" avx2", "").replace(" fma", "")
    assert processor.lacking(wanted, cpuinfo(tmp_path, older)) == "avx2, fma"


def test_only_instruction_sets_count(tmp_path: Path) -> None:
    found = processor.abilities(cpuinfo(tmp_path, HASWELL))
    assert "avx2" in found
    assert not found & {"fpu", "constant_tsc", "hypervisor"}


def test_what_only_some_processors_can_does_not_count(tmp_path: Path) -> None:
    assert "avx512f" not in processor.abilities(cpuinfo(tmp_path, HASWELL + " avx512f", HASWELL))


def test_where_linux_tells_nothing_everything_lacks(tmp_path: Path) -> None:
    assert "avx2" in processor.lacking(processor.needed(processor.BASELINE), tmp_path / "none")


def test_arm_counts_all_that_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nFeatures\t: fp asimd sve\n")
    assert processor.abilities(path) == {"fp", "asimd", "sve"}
