"""The checker on archives: what of their configuration does not work behind the wrapper is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Mapping, Optional

import pytest

from kserve_wrapper.modelstore import Finding, Severity
from kserve_wrapper.modelstore.content import check_content
from kserve_wrapper.modelstore.model_config import check_archive
from kserve_wrapper.modelstore.trial import START_LIMIT
from kserve_wrapper.settings import Settings
from kserve_wrapper.torchserve import archive
from kserve_wrapper.torchserve.config import load
from tests.unit.deploy.archives import make_mar

ROOT = Path(__file__).resolve().parents[3]
CONFIG = "model-config.yaml"
#: The file in which an archive on the base handler has its settings.
BASE = {"mnist_handler/config.py": (ROOT / "mnist_handler" / "config.py").read_text()}


def findings(tmp_path: Path, config: str, members: Optional[Mapping[str, str]] = None, **options: Any) -> List[Finding]:
    envelope = options.pop("envelope", "kserve")
    path = make_mar(tmp_path, members={CONFIG: config, **(members or {})}, configFile=CONFIG, **options)
    return list(check_archive(archive.read(path), envelope))


@pytest.mark.parametrize("key", ["sequenceBatching", "asyncCommunication"])
def test_what_does_not_work_behind_the_wrapper_is_refused_by_name(tmp_path: Path, key: str) -> None:
    [found] = findings(tmp_path, f"minWorkers: 1\n{key}: true\n")
    assert found.severity is Severity.ERROR
    assert f"{CONFIG} has {key}: true" in found.problem
    assert found.remedy.startswith("Take it out")
    assert findings(tmp_path, f"{key}: false\n") == []


def test_a_key_that_our_base_does_not_know_is_named(tmp_path: Path) -> None:
    [found] = findings(tmp_path, "handler:\n  precison: bf16\n  compile: none\n", BASE)
    assert found.severity is Severity.ERROR
    assert "handler.precison" in found.problem
    assert found.remedy == "Did you mean precision"
    [other] = findings(tmp_path, "handler:\n  zzz: 1\n", BASE)
    assert "precision" in other.remedy
    # Other handlers have keys of their own.
    assert findings(tmp_path, "handler:\n  precison: bf16\n") == []


def test_a_model_that_loads_for_longer_than_the_startup_probe_waits(tmp_path: Path) -> None:
    """That the probe waits as long as the wrapper stays live, test_manifests_agree.py holds."""
    limit = int(Settings().worker_limit)
    [found] = findings(tmp_path, f"startupTimeout: {limit + 1}\n")
    assert found.severity is Severity.WARNING
    assert f"startup probe ends a pod that is not ready after {limit} s" in found.problem
    assert "TS_KSERVE_WORKER_LIMIT" in found.remedy
    assert findings(tmp_path, f"startupTimeout: {limit}\n") == []
    # What TorchServe takes where the archive says nothing.
    assert limit > START_LIMIT


@pytest.mark.parametrize(
    ("envelope", "members", "told"),
    [("kserve", {}, True), ("kservev2", {}, True), ("json", {}, False), (None, {}, False), ("kserve", BASE, False)],
)
def test_a_batch_that_a_stock_envelope_breaks(
    tmp_path: Path, envelope: Optional[str], members: Mapping[str, str], told: bool
) -> None:
    found = findings(tmp_path, "batchSize: 8\n", members, envelope=envelope)
    assert [(each.severity, "batchSize: 8" in each.problem) for each in found] == [(Severity.WARNING, True)] * told
    assert findings(tmp_path, "batchSize: 1\n", members, envelope=envelope) == []


def test_a_stock_handler_that_reads_a_pickle(tmp_path: Path) -> None:
    [found] = findings(tmp_path, "", handler="text_classifier")
    assert found.severity is Severity.WARNING
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1" in found.remedy
    assert findings(tmp_path, "", handler="image_classifier") == []


@pytest.mark.parametrize("text", ["a: [", "\t", "a: b: c", "!!python/object:os.system {}"])
def test_a_file_that_is_not_yaml(tmp_path: Path, text: str) -> None:
    [found] = findings(tmp_path, text)
    assert found.severity is Severity.ERROR
    assert "is not YAML" in found.problem


@pytest.mark.parametrize(
    "text", ["", "7", "[]", "handler: 7", "batchSize: x", "useJobTicket: true", "sequenceBatching: 7"]
)
def test_a_file_that_asks_for_nothing(tmp_path: Path, text: str) -> None:
    assert findings(tmp_path, text, BASE) == []


def test_a_config_file_that_is_not_there(tmp_path: Path) -> None:
    path = make_mar(tmp_path, configFile="other.yaml")
    [found] = check_archive(archive.read(path), None)
    assert "names other.yaml and does not hold it" in found.problem


@pytest.mark.parametrize("load_models", ["all", "new.mar,old.mar", "echo=new.mar,old.mar"])
def test_a_default_version_that_torchserve_does_not_read_is_refused(tmp_path: Path, load_models: str) -> None:
    make_mar(tmp_path, "echo", "1.0", "old.mar")
    make_mar(tmp_path, "echo", "2.0", "new.mar", {CONFIG: "sequenceBatching: true"}, configFile=CONFIG)
    models = '{"echo":{"1.0":{"defaultVersion":true},"2.0":{"minWorkers":1}}}'
    file = tmp_path / "config.properties"
    file.write_text(f"metrics_mode=prometheus\nload_models={load_models}\nmodels={models}\n")
    found = check_content(file, load(file, {}).settings, tmp_path)
    told = {each.problem.split(" ")[0]: each for each in found if each.severity is Severity.ERROR}
    assert told["models.echo.1.0"].line == 3
    assert "model_snapshot" in told["models.echo.1.0"].remedy
    assert CONFIG in told
    (tmp_path / "new.mar").unlink()
    # Of one version there is no doubt.
    found = check_content(file, load(file, {}).settings, tmp_path)
    assert not any("defaultVersion" in each.problem for each in found)
