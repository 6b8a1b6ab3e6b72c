"""The autoscaler's simulation: queues behave as queueing theory says, and the page shows what it gives."""

from __future__ import annotations

import math
import xml.etree.ElementTree
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks import autoscaler
from benchmarks.autoscaler import Autoscaler, Replica, Service, arrivals, day, latencies, main, measured
from benchmarks.capacity import GIB, PAGE, Figures

ONE_AT_A_TIME = Service(alone=0.01, each=0.001, floor=0.0001, batch=1)
BATCHING = Service(alone=0.01, each=0.001, floor=0.0001, batch=64)
SERVICES = st.builds(Service, st.floats(1e-4, 1), st.floats(1e-6, 1e-2), st.floats(1e-6, 1e-3), st.integers(1, 128))


@pytest.mark.parametrize("load", [0.2, 0.5, 0.8])
def test_without_batching_it_is_an_m_d_1_queue(load: float) -> None:
    """Mean wait by Pollaczek and Khinchine: load times service time over 2 (1 - load)."""
    found = latencies(ONE_AT_A_TIME, load / ONE_AT_A_TIME.alone, requests=100000)
    wanted = ONE_AT_A_TIME.alone * (1 + load / (2 * (1 - load)))
    assert sum(found) / len(found) == pytest.approx(wanted, rel=0.08)


@settings(max_examples=50)
@given(SERVICES, st.floats(0.01, 0.95), st.integers(1, 500))
def test_every_request_is_answered_and_none_before_its_time(service: Service, load: float, requests: int) -> None:
    found = latencies(service, load * service.rate, requests)
    assert len(found) == requests
    assert found == sorted(found)
    assert found[0] >= service.seconds(1) * (1 - 1e-6)


def test_a_lone_request_is_answered_in_the_time_of_one() -> None:
    assert latencies(BATCHING, 1e-6, 100) == pytest.approx([BATCHING.alone] * 100)


@given(st.floats(1, 1e5), st.floats(1, 1e5), st.floats(1e-4, 1))
def test_batching_never_makes_a_replica_slower(rows: float, requests: float, alone: float) -> None:
    figures = Figures(rows, requests, alone, GIB, GIB)
    assume(alone >= 1 / rows)
    assert measured(figures, True).rate >= measured(figures, False).rate * (1 - 1e-9)


def test_the_day_goes_from_ten_to_a_hundred_thousand() -> None:
    assert arrivals(0) == pytest.approx(10)
    assert arrivals(autoscaler.DAY / 2) == pytest.approx(100000)
    assert arrivals(autoscaler.DAY) == pytest.approx(10)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=60), st.floats(1, 100), st.integers(1, 200))
def test_the_autoscaler_stays_within_knatives_bounds(seen: list[float], target: float, replicas: int) -> None:
    scaler = Autoscaler(target)
    for tick, in_flight in enumerate(seen):
        wanted = scaler.wanted(tick * autoscaler.TICK, in_flight, replicas)
        assert 1 <= wanted <= max(autoscaler.MOST, replicas)
        assert wanted >= math.floor(replicas / autoscaler.SHRINKAGE)
        replicas = wanted


def test_a_steady_load_gets_what_it_needs() -> None:
    scaler = Autoscaler(10)
    assert {scaler.wanted(tick * 2.0, 70.0, 10) for tick in range(60)} == {10}


def test_a_burst_gets_replicas_at_once_and_keeps_them_for_a_minute() -> None:
    scaler = Autoscaler(10)
    for tick in range(30):
        scaler.wanted(tick * 2.0, 7.0, 1)
    grown = scaler.wanted(60.0, 700.0, 1)
    assert grown > 30
    assert scaler.wanted(62.0, 7.0, grown) >= grown


def test_a_higher_target_costs_less_where_a_replica_can_hold_it() -> None:
    replica = Replica(BATCHING, requests=2000)
    few, many = (day(replica, target, 5.0, length=14400) for target in (1, 8))
    assert many.hours < few.hours
    assert many.refused == few.refused == 0
    assert few.p50 <= few.p99


def test_what_waits_too_long_in_line_is_counted_as_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoscaler, "arrivals", lambda seconds: 1e6)
    found = day(Replica(ONE_AT_A_TIME, requests=500), 1, 5.0, length=600)
    assert found.refused == pytest.approx(0.9, abs=0.01), "1,000 replicas of 100/s have a tenth of it"


def test_the_page_shows_what_the_simulation_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out.strip()
    page = PAGE.read_text(encoding="utf-8")
    assert page.split("<!-- simulation -->")[1].split("<!-- /simulation -->")[0].strip() == printed
    assert "scaling-simulation.svg" in page
    assert "A simulation, not a measurement" in page


def test_the_plot_says_that_it_is_a_simulation(tmp_path: Path) -> None:
    replica = Replica(BATCHING, requests=500)
    found = day(replica, 8, 5.0, length=3600)
    autoscaler.plot({(True, 8): found}, tmp_path / "plot.svg")
    for file in (tmp_path / "plot.svg", autoscaler.PLOT):
        root = xml.etree.ElementTree.parse(file).getroot()
        assert any("Simulation of a day" in (text or "") for text in root.itertext())


@pytest.mark.parametrize("hours", ["0", "25", "-1"])
def test_no_such_day(hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--hours", hours])
    assert ended.value.code == 2
    assert "--hours" in capsys.readouterr().err
