"""Deadlines in virtual time: each is told at its moment, unless whoever had it left before."""

from __future__ import annotations

import asyncio
from typing import List, Tuple

from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.core.timers import Expiry
from tests.unit.kserve_wrapper.batching.virtual_time import run

#: When one comes, how long until its deadline, and how long it stays; in tenths of a second.
STAYS = st.lists(st.tuples(st.integers(0, 50), st.integers(-5, 30), st.integers(0, 30)), max_size=40)


class Book:
    """Who expired, and when."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self.expired: List[Tuple[float, int]] = []
        self.expiry: Expiry[int] = Expiry(self._loop, self._loop.time, self._note)

    def at(self, tenths: int) -> float:
        return self._start + tenths / 10

    def _note(self, who: int) -> None:
        self.expired.append((round((self._loop.time() - self._start) * 10, 3), who))


@given(STAYS)
def test_each_expires_at_its_deadline_unless_it_left_before(stays: List[Tuple[int, int, int]]) -> None:
    async def main() -> None:
        book = Book()
        loop = asyncio.get_running_loop()

        def come(who: int, deadline: int, leaves: int) -> None:
            entry = book.expiry.add(book.at(deadline), who)
            # A little before whoever has the same deadline to the tenth, so that the order is certain.
            loop.call_at(book.at(leaves) - 0.01, book.expiry.remove, entry)

        for who, (comes, lasts, stays_for) in enumerate(stays):
            loop.call_at(book.at(comes), come, who, comes + lasts, comes + 1 + stays_for)
        await asyncio.sleep(20)
        wanted = [
            (float(max(comes, comes + lasts)), who)
            for who, (comes, lasts, stays_for) in enumerate(stays)
            if lasts <= stays_for
        ]
        assert sorted(book.expired) == sorted(wanted)
        assert [when for when, _ in book.expired] == sorted(when for when, _ in wanted)
        assert book.expiry.present() == []

    run(main())


def test_those_who_are_told_at_once_come_nearest_deadline_first() -> None:
    async def main() -> None:
        book = Book()
        for who, deadline in enumerate([-3, -1, -2, -3]):
            book.expiry.add(book.at(deadline), who)
        await asyncio.sleep(0.1)
        assert book.expired == [(0.0, 0), (0.0, 3), (0.0, 2), (0.0, 1)]

    run(main())


def test_present_are_those_who_neither_expired_nor_left() -> None:
    async def main() -> None:
        book = Book()
        entries = [book.expiry.add(book.at(deadline), deadline) for deadline in (1, 20, 30)]
        await asyncio.sleep(1)
        assert sorted(book.expiry.present()) == [20, 30]
        for entry in entries:
            book.expiry.remove(entry)
            book.expiry.remove(entry)
        assert book.expiry.present() == []
        entries.append(book.expiry.add(book.at(40), 40))
        assert book.expiry.present() == [40]
        book.expiry.remove(entries[-1])

    run(main())


def test_many_who_left_before_their_deadlines_are_not_kept() -> None:
    """Deadlines are a minute off and answers a millisecond: what is kept is bounded by who is here."""

    async def main() -> None:
        book = Book()
        first = book.expiry.add(book.at(10), -1)
        most = 0
        for who in range(5000):
            book.expiry.remove(book.expiry.add(book.at(600), who))
            most = max(most, len(book.expiry._heap))
        assert most < 1100
        assert book.expiry.present() == [-1]
        await asyncio.sleep(2)
        assert book.expired == [(10.0, -1)]
        book.expiry.remove(first)

    run(main())
