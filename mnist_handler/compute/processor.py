"""Instruction sets: what a processor can do, and what compiled code needs, which crashes on another one.

Linux names a processor's abilities in ``/proc/cpuinfo``. The stated baseline is x86-64-v3 of the x86-64 psABI, which
has AVX2: Intel's since Haswell (2013), AMD's since Excavator (2015).
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Dict, FrozenSet, Tuple

CPUINFO = Path("/proc/cpuinfo")
BASELINE, NATIVE = "x86-64-v3", "native"
#: What is asked for when a model is compiled.
INSTRUCTIONS = (BASELINE, NATIVE)
#: In Linux's words, by the machine's architecture.
NEEDED: Dict[str, FrozenSet[str]] = {
    BASELINE: frozenset(
        (
            *("abm", "avx", "avx2", "bmi1", "bmi2", "cx16", "f16c", "fma", "lahf_lm", "movbe", "popcnt"),
            *("sse", "sse2", "sse4_1", "sse4_2", "ssse3"),
        )
    )
}
#: How the names of instruction sets begin, among those of other abilities.
_SETS: Tuple[str, ...] = (
    *("3dnow", "abm", "adx", "aes", "amx", "avx", "bmi", "cldemote", "clwb", "cx16", "f16c", "fma", "gfni", "lahf_lm"),
    *("mmx", "movbe", "movdir", "pclmulqdq", "pni", "popcnt", "rdrand", "rdseed", "sha", "sse", "ssse", "vaes"),
    *("vpclmulqdq", "waitpkg", "xop"),
)


def abilities(cpuinfo: Path = CPUINFO) -> FrozenSet[str]:
    """Instruction sets of this machine's processors, as Linux names them; none where it does not tell."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    told = (line.partition(":") for line in lines)
    # Threads may run on any processor: what only some of them can does not count.
    each = [frozenset(words.split()) for key, _, words in told if key.strip() in ("flags", "Features")]
    common = frozenset.intersection(*each) if each else frozenset()
    if platform.machine() != "x86_64":
        return common
    return frozenset(name for name in common if name.startswith(_SETS))


def needed(instructions: str) -> FrozenSet[str]:
    """What code for these instructions needs; for ``native`` all that this machine has."""
    return NEEDED[instructions] if instructions in NEEDED else abilities()


def lacking(wanted: FrozenSet[str], cpuinfo: Path = CPUINFO) -> str:
    """Which of the wanted instruction sets this machine lacks, in words; empty if none."""
    return ", ".join(sorted(wanted - abilities(cpuinfo)))
