"""What the wrapper needs of packages beyond what they promise, and the bound on their versions for its sake."""

from __future__ import annotations

import configparser
import inspect
from importlib.metadata import version
from pathlib import Path
from typing import Dict

import pytest
import uvicorn
from packaging.requirements import Requirement
from prometheus_client import CollectorRegistry, Histogram
from uvicorn.server import ServerState

SETUP = Path(__file__).resolve().parents[3] / "setup.cfg"


def requirements() -> Dict[str, Requirement]:
    config = configparser.ConfigParser()
    config.read(SETUP)
    lines = config["options.extras_require"]["wrapper"].splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {requirement.name: requirement for requirement in found}


@pytest.mark.parametrize("name", ["prometheus-client", "uvicorn"])
def test_a_package_whose_inside_is_needed_has_an_upper_bound(name: str) -> None:
    bounds = requirements()[name].specifier
    assert any(bound.operator == "<" for bound in bounds)
    assert version(name) in bounds


def test_private_names_of_prometheus_client() -> None:
    """``telemetry/buffered.py`` adds many observations at once, for which there is no call."""
    histogram = Histogram("seconds", "Seconds.", buckets=(1.0, 2.0), registry=CollectorRegistry())
    assert list(histogram._upper_bounds) == [1.0, 2.0, float("inf")]
    histogram._buckets[1].inc(3)
    histogram._sum.inc(4.5)
    samples = {(s.name, s.labels.get("le")): s.value for family in histogram.collect() for s in family.samples}
    assert samples["seconds_bucket", "1.0"] == 0
    assert samples["seconds_bucket", "2.0"] == samples["seconds_count", None] == 3
    assert samples["seconds_sum", None] == 4.5


def test_names_of_uvicorn_beyond_its_documents() -> None:
    """``httpd/server.py`` runs its server in a loop of ours, with our protocol and without its signal handlers."""
    server = uvicorn.Server(uvicorn.Config(lambda: None, lifespan="off", log_config=None))
    assert (server.should_exit, server.force_exit) == (False, False)
    assert ServerState().connections == set()
    assert inspect.iscoroutinefunction(server.startup)
    assert list(inspect.signature(server.startup).parameters) == ["sockets"]
    assert hasattr(server, "capture_signals") or hasattr(server, "install_signal_handlers")
    server.config.load()
    assert server.config.ssl is None
