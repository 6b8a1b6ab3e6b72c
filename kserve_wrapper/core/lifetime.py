"""What a child process owes its parent, told to the kernel. Linux only; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import os
import sys

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36


def end_with_parent(number: int, parent: int) -> None:
    """The calling process gets this signal when its parent ends, however that ends.

    Args:
        parent: the parent's pid, which may have ended already.
    """
    _prctl(_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def adopt_orphans() -> None:
    """Orphans among the descendants come to the calling process and not to process 1."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
