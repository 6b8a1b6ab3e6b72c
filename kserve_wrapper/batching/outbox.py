"""Outcomes on their way to those who asked."""

from __future__ import annotations

import asyncio
from typing import Callable, Generic, List, Tuple, TypeVar, Union

from kserve_wrapper.core.calls import Reply

T = TypeVar("T")

#: What becomes of a call: its reply, or the error that ended it.
Outcome = Union[Reply, Exception]
#: Takes a call's outcome, once.
Deliver = Callable[[Outcome], None]


class Outbox(Generic[T]):
    """Collects outcomes until the event loop's next turn: whoever gets one acts when the batch has been dealt with.

    Args:
        loop: the event loop.
        hand_over: takes all that has been collected, each with its addressee.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hand_over: Callable[[List[Tuple[T, Outcome]]], None]) -> None:
        self._loop = loop
        self._hand_over = hand_over
        self._collected: List[Tuple[T, Outcome]] = []

    def put(self, addressee: T, outcome: Outcome) -> None:
        if not self._collected:
            self._loop.call_soon(self._turn)
        self._collected.append((addressee, outcome))

    def _turn(self) -> None:
        collected, self._collected = self._collected, []
        self._hand_over(collected)
