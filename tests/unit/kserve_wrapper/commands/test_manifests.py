"""``ts-kserve manifests``: what it writes is what config/ says, valid, and refused by key where it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import pytest
import yaml

from kserve_wrapper.commands import manifests
from scripts.manifests import __main__ as checker
from scripts.manifests import schemas
from tests.unit.deploy.archives import make_mar
from tests.unit.deploy.manifests import CONFIG

#: What an archive on the project's base has.
BASE = {"mnist_handler/__init__.py": ""}
IMAGE = "registry.example.com/ts-kserve-wrapper:0.2.0"


def made(folder: Path, *flags: str) -> Dict[str, List[Any]]:
    """The objects of each file."""
    mar = make_mar(folder, "my_model", members=BASE)
    assert manifests.main([str(mar), "--image", IMAGE, "--out", str(folder / "out"), *flags]) == 0
    assert (folder / "out" / "models" / "model-store" / "my_model.mar").is_file()
    return {path.name: list(yaml.safe_load_all(path.read_text())) for path in sorted((folder / "out").glob("*.yaml"))}


def config(name: str) -> Any:
    return list(yaml.safe_load_all((CONFIG / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["serving-runtime.yaml", "serving-runtime-gpu.yaml"])
def test_the_wheels_runtimes_are_the_projects(name: str) -> None:
    assert (manifests.PLACE / name).read_bytes() == (CONFIG / "runtime" / name).read_bytes()
    claim = "model-store-pvc.yaml"
    assert (manifests.PLACE / claim).read_bytes() == (CONFIG / "kserve" / claim).read_bytes()


@pytest.mark.parametrize(
    ("flags", "runtime"),
    [
        ([], "serving-runtime.yaml"),
        (["--gpu"], "serving-runtime-gpu.yaml"),
        (["--cluster"], "cluster-serving-runtime.yaml"),
        (["--cluster", "--gpu", "--mode", "Knative"], "cluster-serving-runtime-gpu.yaml"),
    ],
)
def test_the_runtime_is_the_projects(tmp_path: Path, flags: List[str], runtime: str) -> None:
    assert made(tmp_path, *flags)["runtime.yaml"] == config(f"runtime/{runtime}")


@pytest.mark.parametrize(
    ("flags", "example"),
    [
        ([], "torchserve-standard.yaml"),
        (["--mode", "Knative", "--protocol", "grpc-v2"], "torchserve-grpc-v2.yaml"),
    ],
)
def test_the_service_is_the_projects(tmp_path: Path, flags: List[str], example: str) -> None:
    (wanted,), place = config(f"kserve/{example}"), "gs://kfserving-examples/models/torchserve/image_classifier/v2"
    (found,) = made(tmp_path, "--storage", place, "--name", wanted["metadata"]["name"], *flags)["service.yaml"]
    assert found == wanted


def test_a_claim_is_written_where_no_other_place_is_named(tmp_path: Path) -> None:
    found = made(tmp_path, "--namespace", "models")
    (claim, loader), (service,) = found["model-store-pvc.yaml"], found["service.yaml"]
    assert claim["spec"] == config("kserve/model-store-pvc.yaml")[0]["spec"]
    assert "mkdir -p /pv/my-model " in loader["spec"]["containers"][0]["command"][2]
    assert service["spec"]["predictor"]["model"]["storageUri"] == "pvc://model-store/my-model"
    everything = [value for values in found.values() for value in values]
    assert {value["metadata"]["namespace"] for value in everything} == {"models"}


@pytest.mark.parametrize(
    "flags", [[], ["--gpu"], ["--cluster"], ["--mode", "Knative"], ["--storage", "s3://bucket/x: y"]]
)
def test_what_it_writes_passes_the_check_of_manifests(
    tmp_path: Path, flags: List[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if "s3://bucket/x: y" in flags:
        mar = make_mar(tmp_path)
        assert manifests.main([str(mar), "--image", IMAGE, "--out", str(tmp_path / "out"), *flags]) == 2
        assert "$.spec.predictor.model.storageUri" in capsys.readouterr().err
        return
    made(tmp_path, *flags)
    assert checker.main([str(path) for path in (tmp_path / "out").glob("*.yaml")]) == 0, capsys.readouterr().err
    for path in (tmp_path / "out").glob("*.yaml") if schemas.directory() else ():
        for value in yaml.safe_load_all(path.read_text()):
            assert value["kind"] not in schemas.FILES or schemas.problems(value, schemas.directory()) == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--image", "registry.example.com:5000/ts"], "$.spec.containers[0].image: "),
        (["--image", "registry.example.com/TS-kserve:1"], "has capital letters, which registries refuse"),
        (["--image", "REGISTRY/ts-kserve-wrapper:VERSION"], "has capital letters, which registries refuse"),
        (["--image", "registry.example.com/ts-kserve-wrapper:VERSION"], "has VERSION where a tag belongs"),
        (["--format", "onnx"], "$.spec.predictor.model.modelFormat.name: runtime 'ts-kserve-wrapper' does not serve"),
        (["--name", "My Model"], "$.metadata.name: 'My Model' is no name"),
        (["--storage", "ftp://x/y"], "$.spec.predictor.model.storageUri: 'ftp://x/y' is no place"),
    ],
)
def test_what_cannot_be_is_refused_by_the_keys_path(
    tmp_path: Path, flags: List[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mar = make_mar(tmp_path)
    assert manifests.main([str(mar), "--image", IMAGE, "--out", str(tmp_path / "out"), *flags]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists(), "nothing is written"


def test_an_archive_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none.mar"
    assert manifests.main([str(path), "--image", IMAGE, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"manifests: {path} is no readable zip file")


@pytest.mark.parametrize(
    ("flags", "protocol", "envelope", "answers"),
    [
        ([], "v1", "kserve", "V1 alone"),
        (["--protocol", "v2"], "v2", "kservev2", "V2 and gRPC alone, and of a BYTES input its first element"),
    ],
)
def test_a_handler_of_one_protocol_is_told(
    tmp_path: Path, flags: List[str], protocol: str, envelope: str, answers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mars = [make_mar(tmp_path, "mob", handler="image_classifier"), make_mar(tmp_path, "digits", members=BASE)]
    assert manifests.main([*map(str, mars), "--image", IMAGE, "--out", str(tmp_path / "out"), *flags]) == 0
    said = capsys.readouterr().err
    assert said.startswith(f"manifests: note: mob answers {answers}: its handler is not on this project's base")
    assert "digits" not in said
    (service,) = yaml.safe_load_all((tmp_path / "out" / "service.yaml").read_text())
    assert service["spec"]["predictor"]["model"]["protocolVersion"] == protocol
    configuration = (tmp_path / "out" / "models" / "config" / "config.properties").read_text()
    assert f"\nservice_envelope={envelope}\n" in configuration
