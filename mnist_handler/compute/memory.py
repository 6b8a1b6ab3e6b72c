"""Memory that was freed and that the C library keeps: loading a model leaves more of it than the model takes."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Give it to the system, by glibc's malloc_trim(3); where the C library has none, nothing happens."""
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    trim(0)
