"""Promise 5: at half load, memory, file descriptors and temporary files level off."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Sequence

from prometheus_client.parser import text_string_to_metric_families

from tests.faults.conftest import MakePod
from tests.faults.figures import MEMORY, pick, record, soaking
from tests.faults.kinds import mixed, stub_of
from tests.faults.load import Background, Tally
from tests.faults.pod import Pod, descriptors, resident

#: Of the time, what memory may take to level off: caches, arenas and the compiled model's sizes fill up.
WARM = 0.4


@dataclass(frozen=True)
class Sample:
    """Seconds since the start; bytes; counts."""

    at: float
    wrapper: int
    worker: int
    torchserve: int
    descriptors: int
    files: int
    #: Of the event loop, and requests that have none.
    tasks: int


def take(pod: Pod, started: float) -> Sample:
    return Sample(
        time.monotonic() - started,
        resident(pod.wrapper),
        sum(resident(worker) for worker in pod.workers("mnist")),
        resident(pod.torchserve),
        descriptors(pod.wrapper),
        sum(1 for path in pod.log.parent.rglob("*") if path.is_file()),
        int(gauge(pod, "kserve_wrapper_event_loop_tasks") + gauge(pod, "kserve_wrapper_open_requests")),
    )


def gauge(pod: Pod, name: str) -> float:
    """A metric of the wrapper without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{pod.http_port}/metrics", timeout=30) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    (value,) = [sample.value for family in families for sample in family.samples if sample.name == name]
    return float(value)


async def watch(pod: Pod, seconds: float) -> tuple[list[Sample], Tally]:
    samples: list[Sample] = []
    started = time.monotonic()
    questions = mixed(stub_of(pod.grpc_port))
    async with Background(pod.http_port, questions, 8, limit=60, pause=0.02) as tally:
        while time.monotonic() - started < seconds:
            await asyncio.sleep(seconds / 60)
            samples.append(await asyncio.to_thread(take, pod, started))
    return samples, tally


def growth(samples: Sequence[Sample], name: str) -> float:
    """Mean of the last third less that of the one before the last, after warming up."""
    values: list[int] = [getattr(sample, name) for sample in samples if sample.at > WARM * samples[-1].at]
    half = len(values) // 2
    return mean(values[half:]) - mean(values[:half])


def test_nothing_grows(make_pod: MakePod) -> None:
    seconds = pick(15.0, 1800.0)
    with make_pod() as pod:
        samples, tally = asyncio.run(watch(pod, seconds))
    grown = {
        f"{name}_grown_mb": round(growth(samples, name) / 2**20, 2) for name in ("wrapper", "worker", "torchserve")
    }
    last = samples[-1]
    sizes = {"wrapper_mb": last.wrapper // 2**20, "worker_mb": last.worker // 2**20}
    counts = {"descriptors": last.descriptors, "files": last.files, "tasks": last.tasks}
    record(5, f"half load for {seconds:g} s", {**sizes, **grown, **counts, **tally.figures()})
    if soaking():
        plot(samples, MEMORY)
    assert not tally.faults, tally.faults[:5]
    assert growth(samples, "wrapper") < 8 * 2**20
    assert growth(samples, "worker") < 24 * 2**20
    assert growth(samples, "descriptors") < 3
    assert growth(samples, "files") < 3
    assert growth(samples, "tasks") < 8  # as many clients as there are: what is under way comes and goes


def plot(samples: Sequence[Sample], path: Path) -> None:
    """Memory over time, for the report."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3))
    for name in ("wrapper", "worker", "torchserve"):
        axes.plot([s.at / 60 for s in samples], [getattr(s, name) / 2**20 for s in samples], label=name)
    axes.set_xlabel("minutes")
    axes.set_ylabel("resident memory, MB")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
