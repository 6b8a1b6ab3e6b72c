"""How many processes of this container the kernel has killed for lack of memory."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
#: Version 2 and version 1 of cgroups, as a container sees its own.
_FILES = ("memory.events", "memory/memory.oom_control")
_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def memory_kills(cgroups: Path = CGROUPS) -> int:
    """The kernel's count since the container began; 0 where it cannot be read."""
    for name in _FILES:
        with suppress(OSError):
            found = _COUNT.search((cgroups / name).read_text(encoding="ascii", errors="replace"))
            if found is not None:
                return int(found[1])
    return 0
