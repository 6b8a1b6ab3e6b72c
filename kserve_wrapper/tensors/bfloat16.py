"""BF16, which NumPy does not have: the upper half of an FP32's bits.

Every BF16 is an FP32, so widening is exact. Handlers that do not name BF16 among their inputs get FP32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kserve_wrapper.core.calls import Buffer

_NAN = np.uint16(0x7FC0)


def widen(data: Buffer) -> np.ndarray[Any, Any]:
    """FP32 of little-endian BF16, one value an element."""
    return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")


def narrow(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The nearest BF16 of each FP32, of two equally near the even one; as ``<u2``. NaN stays NaN."""
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    # Half of the last place that stays, and one less where that is even (IEEE 754, roundTiesToEven).
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return np.where(np.isnan(values), _NAN, rounded).astype("<u2")
