"""What the wrapper needs of packages beyond what they promise, and the bound on their versions for its sake."""

from __future__ import annotations

import configparser
from importlib.metadata import version
from pathlib import Path
from typing import Dict

import pytest
from packaging.requirements import Requirement
from prometheus_client import CollectorRegistry, Histogram

SETUP = Path(__file__).resolve().parents[3] / "setup.cfg"


def requirements() -> Dict[str, Requirement]:
    config = configparser.ConfigParser()
    config.read(SETUP)
    lines = config["options.extras_require"]["wrapper"].splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {requirement.name: requirement for requirement in found}


@pytest.mark.parametrize("name", ["prometheus-client"])
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
