"""Many clients at once, each of which knows the one answer that is right for what it sends."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, AsyncIterator, Callable, Iterator, Optional, Protocol

from tests.faults.wire import HttpClient, Lost, Refused

#: Answers to a request that the server could not serve: each must come with a cause.
REFUSALS = frozenset({503, 504})


class Question(Protocol):
    """A request with the check of its answer."""

    @property
    def kind(self) -> str: ...

    async def ask(self, client: HttpClient) -> Optional[str]:
        """Sends it. None where the answer is right, ``503 …`` or ``504 …`` where it was refused with a cause.

        Raises:
            AssertionError: the answer is wrong.
            Lost, Refused: see there.
        """


@dataclass
class Tally:
    """What became of all requests. Times are seconds; moments are on the monotonic clock."""

    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    #: (when asked, how long it took, outcome), in the order of the answers.
    events: list[tuple[float, float, str]] = field(default_factory=list)

    def add(self, question: Question, started: float, outcome: str, detail: str = "") -> None:
        self.outcomes[outcome] += 1
        self.kinds[question.kind] += 1
        self.events.append((started, time.monotonic() - started, outcome))
        if outcome == "refused":
            self.causes[detail] += 1
        elif outcome != "right":
            self.faults.append(f"{question.kind}: {outcome}: {detail[:400]}")

    @property
    def asked(self) -> int:
        return sum(self.outcomes.values())

    def seconds(self, outcome: str = "right") -> list[float]:
        """How long the requests of an outcome took, sorted."""
        return sorted(took for _, took, got in self.events if got == outcome)

    def percentile(self, part: float, outcome: str = "right") -> float:
        took = self.seconds(outcome)
        return took[min(len(took) - 1, int(part * len(took)))] if took else 0.0

    def longest(self) -> float:
        return max((took for _, took, _ in self.events), default=0.0)

    def rate(self) -> float:
        """Right answers a second, over the whole time."""
        if not self.events:
            return 0.0
        started = min(event[0] for event in self.events)
        ended = max(event[0] + event[1] for event in self.events)
        return self.outcomes["right"] / max(0.001, ended - started)

    def gap(self, after: float) -> float:
        """Seconds from a moment until the first right answer to a request asked after it, or infinity."""
        answered = [asked + took for asked, took, got in self.events if got == "right" and asked >= after]
        return min(answered, default=float("inf")) - after

    def figures(self) -> dict[str, Any]:
        """For the report."""
        return {
            "requests": self.asked,
            **{name: self.outcomes[name] for name in ("right", "refused", "wrong", "lost", "late")},
            "causes": dict(self.causes.most_common(6)),
            "p50_ms": round(1000 * self.percentile(0.5), 1),
            "p99_ms": round(1000 * self.percentile(0.99), 1),
            "longest_s": round(self.longest(), 2),
            "per_second": round(self.rate(), 1),
        }


async def ask_one(question: Question, client: HttpClient, tally: Tally, limit: float) -> None:
    """One request; ``limit`` is the seconds after which its answer is late."""
    started = time.monotonic()
    try:
        refusal = await asyncio.wait_for(question.ask(client), limit)
    except asyncio.TimeoutError:
        client.close()
        tally.add(question, started, "late", f"no answer within {limit:g} s")
    except Lost as error:
        tally.add(question, started, "lost", str(error))
    except Refused as error:
        tally.add(question, started, "unreachable", str(error))
    except AssertionError as error:
        client.close()
        tally.add(question, started, "wrong", str(error) or "the check failed")
    else:
        tally.add(question, started, "right" if refusal is None else "refused", refusal or "")


async def run_load(
    port: int,
    questions: Callable[[int], Iterator[Question]],
    clients: int = 64,
    requests: int = 0,
    limit: float = 60.0,
    pause: float = 0.0,
    stop: Optional[asyncio.Event] = None,
    tally: Optional[Tally] = None,
) -> Tally:
    """Ask with ``clients`` clients, each on a connection of its own that it keeps.

    Args:
        port: the wrapper's HTTP port.
        questions: an endless stream for each client, by its number.
        requests: all clients together end after these; 0 = when ``stop`` is set.
        limit: seconds for one answer.
        pause: seconds of each client between two requests; after one that was refused at least 0.05.
        stop: ends the load.
    """
    tally = tally or Tally()
    left = [requests or 2**60]

    async def one(number: int) -> None:
        client = HttpClient("127.0.0.1", port)
        try:
            for question in questions(number):
                if left[0] <= 0 or (stop is not None and stop.is_set()):
                    return
                left[0] -= 1
                await ask_one(question, client, tally, limit)
                unserved = tally.events[-1][2] in ("refused", "unreachable", "lost")
                if pause or unserved:
                    await asyncio.sleep(max(pause, 0.05 if unserved else 0.0))
        finally:
            client.close()

    await asyncio.gather(*[one(number) for number in range(clients)])
    return tally


class Background:
    """Load that runs while something is broken: ``async with Background(...) as tally``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._stop = asyncio.Event()
        self.tally = Tally()
        self._call = lambda: run_load(*arguments, **options, stop=self._stop, tally=self.tally)
        self._task: Optional[asyncio.Task[Tally]] = None

    async def __aenter__(self) -> Tally:
        self._task = asyncio.ensure_future(self._call())
        return self.tally

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        assert self._task is not None
        await self._task


def read_refusal(status: int, body: bytes) -> Optional[str]:
    """``503 cause`` for a refusal; None for any other answer. Fails where no cause is given."""
    if status not in REFUSALS:
        return None
    cause = json.loads(body).get("error")
    assert isinstance(cause, str), body[:200]
    assert len(cause) > 10, body[:200]
    return f"{status} {cause}"


async def until(happened: Callable[[], bool], what: str, limit: float = 90.0, pause: float = 0.02) -> float:
    """As ``pod.until``, in the event loop: what is asked must not block for long."""
    started = time.monotonic()
    while not happened():
        assert time.monotonic() - started < limit, f"not within {limit:g} s: {what}"
        await asyncio.sleep(pause)
    return time.monotonic() - started


async def ready_changes(port: int, path: str = "/v2/health/ready") -> AsyncIterator[tuple[float, bool]]:
    """Moments at which readiness turned, as a prober on a connection of its own sees it: asked every 20 ms."""
    last: Optional[bool] = None
    client = HttpClient("127.0.0.1", port)
    while True:
        try:
            status = (await asyncio.wait_for(client.send("GET", path, b"", {}), 5))[0]
        except (Lost, Refused, asyncio.TimeoutError):
            client.close()
            status = 0
        if (status == 200) != last:
            last = status == 200
            yield time.monotonic(), last
        await asyncio.sleep(0.02)
