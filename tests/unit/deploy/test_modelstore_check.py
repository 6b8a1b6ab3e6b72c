"""The checker on model directories with one thing wrong each: it says which file, which line, what to write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kserve_wrapper.modelstore import Finding, Severity, check, write
from kserve_wrapper.modelstore.__main__ import main
from tests.unit.deploy.archives import make_mar


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A directory without findings."""
    directory = tmp_path / "models"
    write(directory, [make_mar(tmp_path / "built")])
    return directory


def edit(store: Path, old: str, new: str) -> int:
    """Replace a text in the configuration and return the line that it stands in."""
    file = store / "config" / "config.properties"
    text = file.read_text(encoding="latin-1")
    assert old in text
    file.write_text(text.replace(old, new), encoding="latin-1")
    return text[: text.index(old)].count("\n") + 1


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [str(finding) for finding in findings]
    return findings[0]


def test_a_written_directory_has_no_findings(store: Path) -> None:
    assert check(store, "v1") == []


@pytest.mark.parametrize(
    ("old", "new", "problem", "remedy"),
    [
        ("metrics_address=http://0.0.0.0:8082", "metrics_address=http://0.0.0.0:8080", "the wrapper's REST", "8082"),
        ("grpc_inference_port=7070", "grpc_inference_port=8081", "the wrapper's gRPC", "grpc_inference_port=7070"),
        ("grpc_management_port=7071", "grpc_management_port=7070", "grpc_inference_port's (line", "7071"),
        ("grpc_inference_port=7070", "grpc_inference_port=many", "no port", "grpc_inference_port=7070"),
        ("inference_address=http://127.0.0.1:8085", "inference_address=127.0.0.1:8085", "no address", "http://"),
        ("service_envelope=kserve", "service_envelope=kfserving", "no such envelope", "kserve"),
        ('"marName":"mnist.mar"', '"marName":"minst.mar"', "minst.mar, which is not in", "mnist.mar"),
        ('"1.0":{', '"2.0":{', "2.0 here and 1.0 in mnist.mar", '"1.0"'),
        ('"modelCount":1,', "", "loads no model", '"modelCount":1'),
        ('"minWorkers":1', '"minWorkers":0', "never ready", '"minWorkers":1'),
        ('"maxWorkers":5', '"maxWorkers":0', "below minWorkers", '"maxWorkers":1'),
        ('"maxBatchDelay":10,', "", 'lacks "maxBatchDelay"', '"maxBatchDelay":10'),
        ('"defaultVersion":true', '"defaultVersion":false', "has none", '"defaultVersion":true'),
        ('"mnist":{"1.0"', '"my/model":{"1.0"', "does not fit into a URL", "letters"),
        ('{"name":"startup.cfg",', '{"name":"startup.cfg"', "is not JSON at position", "modelCount"),
        ('{"1.0":{"defaultVersion"', '{"1.0":7, "1.1":{"defaultVersion"', "models.mnist.1.0 must be", "marName"),
        ("job_queue_size=10", "job_queue_size=\\u12", "four hexadecimal digits", ""),
        ("job_queue_size=10", "job_queue_size=$$QUEUE$$", "environment variable QUEUE. Set it", ""),
    ],
)
def test_an_error_names_line_and_mend(store: Path, old: str, new: str, problem: str, remedy: str) -> None:
    line = edit(store, old, new)
    errors = [finding for finding in check(store) if finding.severity is Severity.ERROR]
    finding = only(errors)
    assert finding.file == store / "config" / "config.properties"
    assert finding.line == line
    assert problem in finding.problem
    assert remedy in finding.remedy
    assert f"line {line}: error: " in str(finding)


def test_a_byte_order_mark_is_called_so(store: Path) -> None:
    file = store / "config" / "config.properties"
    file.write_bytes(b"\xef\xbb\xbfnumber_of_netty_threads=2\n" + file.read_bytes())
    [finding] = [one for one in check(store) if one.severity is Severity.ERROR]
    assert finding.line == 1
    assert (
        "a byte-order mark, so that TorchServe does not know its first key, number_of_netty_threads" in finding.problem
    )


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"batchSize":1', '"batchSize":8', "batchSize 8"),
        ("metrics_mode=prometheus", "", "metrics_format has no effect"),
        ("model_store=/mnt/models/model-store", "model_store=/home/me/store", "KServe mounts at /mnt/models"),
        ("management_address=http://127.0.0.1:8086", "management_address=http://0.0.0.0:8085", "without token"),
        ('"modelCount":1', '"modelCount":3', "there are 1 models"),
        ("job_queue_size=10", "jobs_queue_size=10", "jobs_queue_size is no property"),
        ('"responseTimeout"', '"responseTimout"', 'has "responseTimout"'),
    ],
)
def test_a_warning_leaves_the_directory_fit(store: Path, old: str, new: str, problem: str) -> None:
    edit(store, old, new)
    finding = only(check(store))
    assert finding.severity is Severity.WARNING
    assert problem in finding.problem
    assert main(["check", str(store)]) == 0


def test_a_time_to_load_in_that_the_snapshot_hides_is_told(tmp_path: Path) -> None:
    """TorchServe takes it from the snapshot alone, where there is one."""
    store, config = tmp_path / "models", {"model-config.yaml": "startupTimeout: 200\n"}
    write(store, [make_mar(tmp_path / "built", members=config, configFile="model-config.yaml")])
    assert check(store, "v1") == []
    line = edit(store, ',"startupTimeout":200', "")
    finding = only(check(store))
    assert (finding.severity, finding.line) == (Severity.WARNING, line)
    assert "mnist.mar has startupTimeout: 200 in model-config.yaml, which TorchServe passes over" in finding.problem
    assert finding.remedy == 'Write "startupTimeout":200 at models.mnist.1.0'


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("inference_adress", "inference_address"),
        ("load_model", "load_models"),
        ("grpc_inference_prot", "grpc_inference_port"),
    ],
)
def test_a_misspelt_property_is_told(store: Path, wrong: str, right: str) -> None:
    line = edit(store, "job_queue_size=10", f"{wrong}=x\njob_queue_size=10")
    finding = only(check(store))
    assert (finding.line, finding.remedy) == (line, f"Did you mean {right}")


def test_a_plugins_property_is_nobodys_slip(store: Path) -> None:
    edit(store, "job_queue_size=10", "job_queue_size=10\nmy_plugin_quota=x")
    assert check(store) == []


def test_a_directory_without_archives_is_told(store: Path) -> None:
    (store / "model-store" / "mnist.mar").unlink()
    (store / "model-store").rmdir()
    assert "the model archives are missing" in [finding.problem for finding in check(store)]


def test_all_findings_are_told_at_once(store: Path) -> None:
    edit(store, "grpc_inference_port=7070", "grpc_inference_port=8080")
    edit(store, "service_envelope=kserve", "service_envelope=v1")
    (store / "model-store" / "mnist.mar").unlink()
    assert len([finding for finding in check(store) if finding.severity is Severity.ERROR]) == 3


def test_the_envelope_of_another_protocol_is_told(store: Path) -> None:
    assert check(store, "v1") == []
    assert "service_envelope=kservev2" in only(check(store, "v2")).remedy
    edit(store, "service_envelope=kserve", "")
    edit(store, "enable_envvars_config=true", "enable_envvars_config=false")
    assert "enable_envvars_config=true" in only(check(store)).remedy


def test_defaults_that_clash_with_the_wrapper_are_told(store: Path) -> None:
    edit(store, "inference_address=http://127.0.0.1:8085", "")
    finding = only(check(store))
    assert finding.line is None
    assert "8080" in finding.problem
    assert "the line is absent" in finding.problem


def test_versions_behind_a_shared_address_are_told(tmp_path: Path) -> None:
    """TorchServe routes /models/NAME/VERSION of a shared address to inference, which answers 404."""
    mars = [make_mar(tmp_path, version=version, file=f"{version}.mar") for version in ("1.0", "2.0")]
    write(tmp_path / "models", mars)
    assert check(tmp_path / "models") == []
    edit(tmp_path / "models", "management_address=http://127.0.0.1:8086", "management_address=http://127.0.0.1:8085")
    assert "does not tell about any but the default" in only(check(tmp_path / "models")).problem


def test_no_model_at_all_is_an_error(store: Path) -> None:
    edit(store, "model_snapshot=", "former_snapshot=")
    assert "no model is served" in only(check(store)).problem
    edit(store, "job_queue_size=10", "job_queue_size=10\nload_models=all")
    assert check(store) == []


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_what_is_no_archive_is_told(store: Path, content: bytes) -> None:
    mar = store / "model-store" / "mnist.mar"
    mar.write_bytes(content)
    finding = only(check(store))
    assert finding.file == mar
    assert "no readable zip file" in finding.problem


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ({"handler": "gone.py"}, "gone.py and does not hold it"),
        ({"handler": "gone:handle"}, "gone.py and does not hold it"),
        ({"serializedFile": "weights.pt"}, "weights.pt and does not hold them"),
    ],
)
def test_an_archive_that_lacks_what_it_names_is_told(store: Path, model: dict[str, Any], problem: str) -> None:
    make_mar(store / "model-store", **model)
    assert problem in only(check(store)).problem


def test_a_builtin_handler_needs_no_file(store: Path) -> None:
    make_mar(store / "model-store", handler="image_classifier")
    assert check(store) == []


def test_an_archive_that_nothing_loads_is_told(store: Path) -> None:
    make_mar(store / "model-store", name="other")
    assert "other.mar is in no snapshot entry" in only(check(store)).problem


def test_a_missing_layout_is_told_with_a_hint(store: Path, tmp_path: Path) -> None:
    assert "no such directory" in only(check(tmp_path / "nowhere")).problem
    findings = check(store.parent)
    assert len(findings) == 2
    assert all(f"Did you mean {store}" in finding.remedy for finding in findings)


def test_the_pods_variables_count(store: Path) -> None:
    assert check(store, environ={"TS_METRICS_ADDRESS": "http://0.0.0.0:8080"}) != []


def test_the_kserve_sample_is_explained(store: Path) -> None:
    """The configuration of KServe's own V2 sample starts, and does not do what it says: warnings, no errors."""
    snapshot = {
        "name": "startup.cfg",
        "modelCount": 1,
        "models": {"mnist": {"1.0": {"defaultVersion": True, "marName": "mnist.mar", "minWorkers": 1}}},
    }
    snapshot["models"]["mnist"]["1.0"].update(maxWorkers=5, batchSize=2, maxBatchDelay=500)  # type: ignore[index]
    (store / "config" / "config.properties").write_text(
        "inference_address=http://0.0.0.0:8085\nmanagement_address=http://0.0.0.0:8085\n"
        "metrics_address=http://0.0.0.0:8082\ngrpc_inference_port=7070\ngrpc_management_port=7071\n"
        "enable_metrics_api=true\nmetrics_format=prometheus\nenable_envvars_config=true\n"
        f"model_store=/mnt/models/model-store\nmodel_snapshot={json.dumps(snapshot)}\n"
    )
    findings = check(store)
    assert {finding.line for finding in findings} == {7, 10}
    assert {finding.severity for finding in findings} == {Severity.WARNING}


def test_the_command_reports_and_fails(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(store)]) == 0
    assert "no errors found; nothing was loaded" in capsys.readouterr().out
    (store / "model-store" / "mnist.mar").unlink()
    assert main(["check", str(store)]) == 1
    printed = capsys.readouterr()
    assert "error:" in printed.err
    assert "no errors found; nothing was loaded" not in printed.out
