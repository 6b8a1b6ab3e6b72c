"""A simulation of Knative's autoscaler over one day, fed with measured service times. No cluster was measured.

    python -m benchmarks.autoscaler            the table
    python -m benchmarks.autoscaler --write    the table and the plot of docs/scaling.md

Two layers. One replica is simulated request by request (Poisson arrivals, one worker, batches of what waits), which
gives its latencies at each rate. The day is then walked in steps of two seconds: arrivals are shared evenly, what a
step cannot serve waits for the next or, where too many wait, is refused. The autoscaler counts requests in flight and
asks for replicas, which are ready a cold start later. Service times and the cold start are those of
``benchmarks/results/capacity.json``.
"""

from __future__ import annotations

import argparse
import bisect
import math
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from benchmarks.capacity import PAGE, REPORT, ROOT, Figures, fill, read, targets

PLOT = ROOT / "docs" / "scaling-simulation.svg"
DAY = 86400.0
#: Seconds: Knative's autoscaler ticks, averages over a stable and a panic window, and keeps panic's replicas.
TICK, STABLE, PANIC = 2.0, 60.0, 6.0
#: The part of a target that Knative aims at (container-concurrency-target-percentage), panic's threshold, and how many
#: times the replicas may grow or shrink at once: Knative's defaults.
PART, PANIC_AT, GROWTH, SHRINKAGE = 0.7, 2.0, 1000.0, 2.0
#: What the cluster has room for, and what one replica lets wait (``--queued_requests``).
MOST, QUEUED = 1000, 2048
TARGETS = (1, 8, 64)
#: Rows of one upstream request, ``--rows_per_batch``.
ROWS_PER_BATCH = 128
CORES = 2


@dataclass(frozen=True)
class Service:
    """What one replica needs for ``n`` requests of a row that go together.

    Attributes:
        alone: seconds of one.
        each: seconds that each further row adds.
        floor: seconds a request below which the wrapper never was.
        batch: requests that may go together; 1 is a server without batching.
    """

    alone: float
    each: float
    floor: float
    batch: int = ROWS_PER_BATCH

    def seconds(self, requests: int) -> float:
        return max(self.alone + (requests - 1) * self.each, requests * self.floor)

    @property
    def rate(self) -> float:
        """Requests a second at most."""
        return self.batch / self.seconds(self.batch)


def measured(figures: Figures, batching: bool) -> Service:
    """The service times of the report; without batching each request is one of its own."""
    each, floor = 1 / figures.worker_rows_per_second, 1 / figures.wrapper_requests_per_second
    return Service(figures.request_seconds, each, floor, ROWS_PER_BATCH if batching else 1)


def latencies(service: Service, rate: float, requests: int = 20000, seed: int = 1) -> List[float]:
    """Seconds from arrival to answer of each request, at one replica with Poisson arrivals; sorted.

    The worker takes what waits, up to a batch, whenever it is free (an M/D/1 queue where a batch is one request).
    """
    rng = random.Random(seed)
    arrivals, now = [], 0.0
    for _ in range(requests):
        now += rng.expovariate(rate)
        arrivals.append(now)
    found: List[float] = []
    free, place = 0.0, 0
    while place < requests:
        start = max(free, arrivals[place])
        end = min(bisect.bisect_right(arrivals, start), place + service.batch)
        free = start + service.seconds(end - place)
        found += [free - arrivals[i] for i in range(place, end)]
        place = end
    return sorted(found)


class Replica:
    """Mean and percentiles of one replica's latency by its rate, from a table of simulations."""

    #: Rates as parts of the highest; above the last, a step's surplus waits for the next step.
    GRID = (0.001, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97)

    def __init__(self, service: Service, requests: int = 20000) -> None:
        self.rate = service.rate
        self._means: List[float] = []
        self._parts: List[Any] = []
        for part in self.GRID:
            found = latencies(service, part * service.rate, requests)
            self._means.append(sum(found) / len(found))
            self._parts.append(np.array([found[int(len(found) * (i + 0.5) / 100)] for i in range(100)]))

    def at(self, rate: float) -> Tuple[float, Any]:
        """Mean latency, and the latency of each hundredth of the requests (an array of 100), at a rate."""
        part = rate / self.rate
        right = min(max(bisect.bisect_left(self.GRID, part), 1), len(self.GRID) - 1)
        low, high = self.GRID[right - 1], self.GRID[right]
        weight = min(max((part - low) / (high - low), 0.0), 1.0)
        mean = self._means[right - 1] * (1 - weight) + self._means[right] * weight
        return mean, self._parts[right - 1] * (1 - weight) + self._parts[right] * weight


def arrivals(seconds: float) -> float:
    """Requests a second at a time of day: 10 at midnight, 100,000 at noon, evenly on a logarithmic scale."""
    return float(10 ** (1 + 4 * (1 - math.cos(2 * math.pi * seconds / DAY)) / 2))


@dataclass(frozen=True)
class Day:
    """What a day came to.

    Attributes:
        hours: replica hours.
        most: replicas at most.
        p99, p50: seconds, over all requests of the day.
        steps: every so many ticks: hour of the day, requests a second, replicas, 99th percentile in seconds.
        refused: the part of all requests that was refused, since too many waited.
    """

    hours: float
    most: int
    p50: float
    p99: float
    steps: Tuple[Tuple[float, float, int, float], ...]
    refused: float


class Autoscaler:
    """Knative's: averages of requests in flight, a stable and a panic window, and no fewer replicas while in panic."""

    def __init__(self, target: float, most: int = MOST) -> None:
        self._target, self._most = target * PART, most
        self._seen: List[float] = []
        self._calm_at, self._kept = -1.0, 1

    def wanted(self, now: float, in_flight: float, replicas: int) -> int:
        """Replicas, after one more look."""
        self._seen = [*self._seen[-int(STABLE / TICK) + 1 :], in_flight]
        recent = self._seen[-int(PANIC / TICK) :]
        stable = self._for(sum(self._seen) / len(self._seen), replicas)
        panic = self._for(sum(recent) / len(recent), replicas)
        if panic >= PANIC_AT * replicas:
            self._calm_at = now + STABLE
        if now < self._calm_at:
            self._kept = max(self._kept, panic, replicas)
            return self._kept
        self._kept = 1
        return stable

    def _for(self, in_flight: float, replicas: int) -> int:
        least, most = math.floor(replicas / SHRINKAGE), math.ceil(replicas * GROWTH)
        return min(max(math.ceil(in_flight / self._target), least, 1), most, self._most)


def day(replica: Replica, target: float, start_seconds: float, length: float = DAY, record: int = 150) -> Day:
    """A day of arrivals under one target.

    Args:
        start_seconds: from the autoscaler's word to a ready replica.
        length: seconds that are walked.
        record: ticks between two of ``Day.steps``.
    """
    scaler, ready, coming = Autoscaler(target), 1, []  # type: Autoscaler, int, List[Tuple[float, int]]
    waiting, replica_seconds, most, asked, refused = 0.0, 0.0, 1, 0.0, 0.0
    histogram = np.zeros(_SLOTS)
    steps: List[Tuple[float, float, int, float]] = []
    for tick in range(int(length / TICK)):
        now = tick * TICK
        ready += sum(count for when, count in coming if when <= now)
        coming = [(when, count) for when, count in coming if when > now]
        rate = arrivals(now)
        served = min(rate * TICK + waiting, ready * replica.rate * TICK)
        delay = waiting / (ready * replica.rate)
        surplus = waiting + rate * TICK - served
        waiting = min(surplus, float(QUEUED * ready))
        refused += surplus - waiting
        asked += rate * TICK
        mean, parts = replica.at(min(served / TICK, rate) / ready)
        np.add.at(histogram, _slots(parts + delay), rate * TICK / len(parts))
        in_flight = served / TICK * mean + waiting
        total = ready + sum(count for _, count in coming)
        wanted = scaler.wanted(now, in_flight, ready)
        if wanted > total:
            coming.append((now + start_seconds, wanted - total))
        elif wanted < total:
            coming, ready = [], max(1, min(ready, wanted))
        total = ready + sum(count for _, count in coming)
        replica_seconds += total * TICK
        most = max(most, total)
        if tick % record == 0:
            steps.append((now / 3600, rate, total, float(parts[98]) + delay))
    p50, p99 = (_percentile(histogram, part) for part in (0.5, 0.99))
    return Day(replica_seconds / 3600, most, p50, p99, tuple(steps), refused / asked)


#: Latencies are counted in slots of 2%, from 10 us up.
_SLOTS, _LEAST, _STEP = 1200, 1e-5, math.log(1.02)


def _slots(seconds: Any) -> Any:
    return np.clip(np.log(seconds / _LEAST) / _STEP, 0, _SLOTS - 1).astype(int)


def _percentile(histogram: Any, part: float) -> float:
    slot = int(np.searchsorted(np.cumsum(histogram), part * histogram.sum()))
    return float(_LEAST * math.exp(_STEP * (slot + 0.5)))


def simulate(path: Path = REPORT, length: float = DAY, requests: int = 20000) -> Dict[Tuple[bool, int], Day]:
    """A day for each target, with batching in the pod and without."""
    figures, report = read(path)
    start = sum(step["seconds"] for step in report["cold_start"])
    aims = sorted({*TARGETS, targets(figures).concurrency})
    return {
        (batching, target): day(replica, target, start, length)
        for batching in (True, False)
        for replica in [Replica(measured(figures, batching), requests)]
        for target in aims
    }


def table(days: Dict[Tuple[bool, int], Day]) -> str:
    """The days in Markdown; all of it simulated."""
    least = min(found.hours for found in days.values())
    lines = [
        "| simulated | concurrency target | replicas at most | replica hours | core hours | cost, 1 = least | p50 ms "
        "| p99 ms | refused |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (batching, target), found in days.items():
        name = "batching in the pod" if batching else "one request at a time"
        lines.append(
            f"| {name} | {target} | {found.most} | {found.hours:.0f} | {found.hours * CORES:.0f} "
            f"| {found.hours / least:.1f} | {found.p50 * 1e3:.1f} | {found.p99 * 1e3:.0f} "
            f"| {found.refused:.1%} |"
        )
    return "\n".join(lines)


def plot(days: Dict[Tuple[bool, int], Day], target: Path = PLOT) -> None:
    """Arrivals, replicas and p99 over the day, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"svg.hashsalt": "autoscaler", "svg.fonttype": "none"}):
        figure, axes = pyplot.subplots(3, 1, figsize=(8, 9), sharex=True)
        figure.suptitle("Simulation of a day (no cluster was measured)")
        hours = [step[0] for step in next(iter(days.values())).steps]
        axes[0].plot(hours, [step[1] for step in next(iter(days.values())).steps], color="black")
        for (batching, aim), found in days.items():
            style = {"linestyle": "-" if batching else ":", "color": f"C{sorted({key for _, key in days}).index(aim)}"}
            label = f"target {aim}, {'batching' if batching else 'one at a time'}"
            axes[1].plot(hours, [step[2] for step in found.steps], label=label, **style)
            axes[2].plot(hours, [step[3] * 1e3 for step in found.steps], label=label, **style)
        for axis, label in zip(axes, ("requests/s", "replicas", "p99, ms")):
            axis.set(yscale="log", ylabel=label)
            axis.grid(alpha=0.3)
        axes[1].legend(fontsize=8)
        axes[2].set(xlabel="hour of the day", xlim=(0, 24), xticks=range(0, 25, 4))
        figure.tight_layout()
        figure.savefig(target, metadata={"Date": None})
        pyplot.close(figure)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.autoscaler", description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--hours", type=float, default=24.0, help="how much of the day")
    parser.add_argument("--write", action="store_true", help="the table and the plot of docs/scaling.md")
    options = parser.parse_args(arguments)
    if not 0 < options.hours <= 24:
        parser.error(f"--hours {options.hours}: more than 0, and 24 at most")
    days = simulate(options.report, options.hours * 3600)
    if options.write:
        plot(days)
        PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), {"simulation": table(days)}), encoding="utf-8")
    else:
        print(table(days))
    return 0


if __name__ == "__main__":
    sys.exit(main())
