"""``python -m scripts.manifests``: what it refuses, and with which path."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.modelstore import manifests as content
from scripts.manifests import schemas, sdk
from scripts.manifests.__main__ import main
from tests.unit.deploy.manifests import CONFIG, everything, read

SERVICE = read(CONFIG / "kserve" / "torchserve-v2-gpu.yaml")[0].value
RUNTIME = read(CONFIG / "runtime" / "cluster-serving-runtime.yaml")[0].value


def saved(tmp_path: Path, *values: Any) -> str:
    file = tmp_path / "given.yaml"
    file.write_text(yaml.safe_dump_all(values), encoding="utf-8")
    return str(file)


def model(service: Any) -> Any:
    return service["spec"]["predictor"]["model"]


WRONG: dict[str, tuple[Any, Callable[[Any], Any], str]] = {
    "an unknown format": (
        SERVICE,
        lambda v: model(v)["modelFormat"].update(name="onnx"),
        "$.spec.predictor.model.modelFormat.name: runtime 'ts-kserve-wrapper-gpu' does not serve",
    ),
    "an unknown format of any runtime": (
        SERVICE,
        lambda v: (model(v).pop("runtime"), model(v)["modelFormat"].update(name="sklearn")),
        "$.spec.predictor.model.modelFormat.name: no runtime serves",
    ),
    "an unknown runtime": (
        SERVICE,
        lambda v: model(v).update(runtime="nobody"),
        "$.spec.predictor.model.runtime: there is no runtime 'nobody'",
    ),
    "no tag": (
        RUNTIME,
        lambda v: v["spec"]["containers"][0].update(image="registry.example.com:5000/ts"),
        "$.spec.containers[0].image: 'registry.example.com:5000/ts' has neither",
    ),
    "a drain that outlasts the pod": (
        SERVICE,
        lambda v: model(v).update(lifecycle={"preStop": {"sleep": {"seconds": 10}}}),
        "$.spec.predictor.terminationGracePeriodSeconds: 30 s",
    ),
    "an unknown key": (RUNTIME, lambda v: v["spec"]["containers"][0].update(imag="x:1"), "$.spec.containers[0].imag: "),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_refuses_with_file_and_path(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if case == "an unknown key" and schemas.directory() is None and sdk.missing():
        pytest.skip("neither KServe's CRDs nor its Python package are here")
    start, change, words = WRONG[case]
    value = copy.deepcopy(start)
    change(value)
    file = saved(tmp_path, value)
    assert main([file]) == 1
    told = capsys.readouterr().err
    assert words in told
    assert all(line.startswith(f"{file}: ") for line in told.splitlines())


def test_this_repositorys_own_pass(capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted({str(manifest.file) for manifest in everything()})
    assert main(files) == 0, capsys.readouterr().err


def test_a_runtime_beside_the_service_counts(tmp_path: Path) -> None:
    value, runtime = copy.deepcopy(SERVICE), copy.deepcopy(RUNTIME)
    model(value).update(runtime="mine", modelFormat={"name": "torchscript"})
    runtime["metadata"]["name"] = "mine"
    runtime["spec"]["supportedModelFormats"] = [{"name": "torchscript"}]
    assert main([saved(tmp_path, value, runtime)]) == 0


@pytest.mark.parametrize("text", ["a: [", "- 1", "kind: Pod", "just text", ""])
def test_what_is_no_manifest_is_told(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(text, encoding="utf-8")
    assert main([str(file)]) == 2
    assert capsys.readouterr().err


def test_an_absent_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing.yaml")]) == 2
    assert "nothing.yaml" in capsys.readouterr().err


PARTS = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
HOSTS = st.one_of(PARTS, st.builds("{}:{}".format, PARTS, st.integers(1, 65535)))
NAMES = st.builds("{}/{}".format, HOSTS, PARTS)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@given(NAMES, TAGS, st.integers(0, 3))
def test_only_a_tag_or_a_digest_pins_an_image(name: str, tag: str, depth: int) -> None:
    def nested(image: str) -> Any:
        value: Any = {"image": image}
        for _ in range(depth):
            value = {"containers": [value]}
        return {"spec": value}

    path = "$.spec" + ".containers[0]" * depth + ".image"
    (problem,) = content.unpinned(nested(name))
    assert problem.startswith(f"{path}: ")
    assert content.unpinned(nested(f"{name}:{tag}")) == []
    assert content.unpinned(nested(f"{name}@sha256:{'a' * 64}")) == []
