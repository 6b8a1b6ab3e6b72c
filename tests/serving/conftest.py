"""One real TorchServe with the wrapper for the whole session, on free ports; its log is shown when a test fails."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from kserve_wrapper.core.sockets import free_port
from scripts.serving import build_archive, supervised, tail
from tests.serving.servers import Served


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with mnist.mar, built by torch-model-archiver."""
    folder = tmp_path_factory.mktemp("model-store")
    build_archive(folder)
    return folder


@pytest.fixture(scope="session")
def served(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Supervisor, TorchServe and wrapper, with the project's own config.properties."""
    log = tmp_path_factory.mktemp("served") / "served.log"
    http_port, grpc_port = free_port(), free_port()
    with supervised(store, log, http_port, grpc_port, wrapper=["--enable_docs_url", "true"]):
        yield Served(f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add the server's log to the report of a test that failed."""
    report = yield
    running = getattr(item, "funcargs", {}).get("served") or getattr(item, "funcargs", {}).get("alone")
    if report.failed and running is not None:
        report.sections.append((f"server log, {running.log}", tail(running.log)))
    return report
