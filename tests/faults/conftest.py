"""One pod for the tests that leave it whole, and fresh ones for those that do not."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, ContextManager, Generator, Iterator

import pytest

from kserve_wrapper.archiver import build
from scripts.serving import build_archive, tail
from tests.faults.pod import Pod, pod, until
from tests.faults.under_load import DEADLINE

MakePod = Callable[..., ContextManager[Pod]]


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with mnist.mar and faulty.mar."""
    store = tmp_path_factory.mktemp("archives")
    build_archive(store)
    build(Path(__file__).with_name("models") / "faulty", store)
    return store


@pytest.fixture(scope="session")
def lasting_pod(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """With both models, one worker each; workers that say nothing for 4 s are restarted."""
    flags = ["--request_timeout", f"{DEADLINE:g}"]
    control = {"enable_model_api": "true"}
    folder = tmp_path_factory.mktemp("pod")
    with pod(archives, folder, response_timeout=4, settings=control, wrapper=flags) as running:
        yield running


@pytest.fixture
def shared_pod(lasting_pod: Pod) -> Pod:
    """Ready again after whatever the test before did to it."""
    until(lasting_pod.ready, "the pod is ready")
    return lasting_pod


@pytest.fixture
def make_pod(archives: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> MakePod:
    """Starts pods of a test's own; see ``pod.pod``."""

    @contextmanager
    def make(**options: Any) -> Iterator[Pod]:
        with pod(archives, tmp_path_factory.mktemp("pod"), **options) as running:
            request.node.user_properties.append(("log", str(running.log)))
            yield running

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the pod's log to the report of a test that failed."""
    report = yield
    logs = [Path(str(path)) for name, path in item.user_properties if name == "log"]
    shared = getattr(item, "funcargs", {}).get("shared_pod")
    for log in [*logs, *([shared.log] if shared is not None else [])]:
        if report.failed and log.is_file():
            report.sections.append((f"pod's log, {log}", tail(log)))
    return report
