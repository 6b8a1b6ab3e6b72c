"""How processes end: stop signals, the parent-death signal (PDEATHSIG) and the subreaper, Linux's both."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: Signals that end a server in good order.
STOPPING = (signal.SIGTERM, signal.SIGINT)

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36


def end_with_parent(number: int, parent: int) -> None:
    """Sets the parent-death signal: the calling process gets it when its parent ends, however that ends.

    Args:
        parent: the parent's pid, which may have ended already.
    """
    _prctl(_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def adopt_orphans() -> None:
    """Makes the calling process the subreaper of its descendants: their orphans come to it and not to process 1."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
