"""A pod as it is by default: nothing exposed, no model control."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from scripts.serving import free_ports
from tests.faults.conftest import archives, pytest_runtest_makereport  # noqa: F401
from tests.faults.figures import record
from tests.faults.pod import Pod, pod
from tests.security.raw import TALKS


@pytest.fixture(scope="session")
def plain_pod(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:  # noqa: F811
    """TorchServe's addresses as the project's config.properties has them (0.0.0.0), on free ports."""
    everywhere = {key: url.replace("127.0.0.1", "0.0.0.0") for key, url in free_ports().items()}
    flags = ["--enable_latency_logging", "true", "--log_level", "DEBUG", "--read_timeout", "5"]
    with pod(archives, tmp_path_factory.mktemp("plain"), ("faulty",), settings=everywhere, wrapper=flags) as running:
        yield running
    answers = [status for talk in TALKS for status in talk]
    counts = {f"answered_{kind}xx": sum(status // 100 == kind for status in answers) for kind in (2, 4, 5)}
    figures = {"sent": len(TALKS), **counts, "closed": TALKS.count([])}
    record(7, "hostile requests at a pod's open port; three ask its handler to fail", figures)
