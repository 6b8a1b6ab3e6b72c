"""Bytes that wait in the connections of a process."""

from __future__ import annotations

from kserve_wrapper.core.errors import Unavailable


class BodyBudget:
    """What all connections together may hold: bodies until the application takes them, and bytes that wait behind them.

    What has come counts, not what is announced: a client that announces much and sends nothing keeps nobody out.

    Args:
        limit: bytes; 0 = any number.
    """

    __slots__ = ("_limit", "held")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        #: Bytes, kept by those who hold them.
        self.held = 0

    def fits(self, size: int) -> bool:
        """Whether there is room for so many bytes more."""
        return self.held + size <= self._limit or not self._limit

    def full(self) -> Unavailable:
        """What a client hears whose bytes do not fit."""
        text = f"the bodies that are being read fill max_bodies_size, {self._limit} bytes: try again later"
        return Unavailable(text, retry_after=1)
