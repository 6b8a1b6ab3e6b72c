"""The Helm chart, by the real helm: it lints, what it renders is valid and agrees with the other manifests, and
values that make no sense are refused with the key's path."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kserve_wrapper._version import __version__
from kserve_wrapper.modelstore import manifests as content
from kserve_wrapper.settings import Settings
from scripts.manifests import schemas, sdk
from tests.unit.deploy import tools
from tests.unit.deploy.manifests import CONFIG, RUNTIMES, Manifest, read

CHART = CONFIG / "helm" / "ts-kserve-wrapper"
SERVICE = {"name": "mnist", "storageUri": "gs://bucket/mnist"}
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "both runtimes in Standard mode": {"gpu": {"enabled": True}, "services": [SERVICE, {**SERVICE, "gpu": True}]},
    "a namespace on Knative": {
        "scope": "namespace",
        "deploymentMode": "Knative",
        "services": [{**SERVICE, "protocolVersion": "grpc-v2", "minReplicas": 0, "maxReplicas": 3}],
    },
    "everything set": {
        "gpu": {"enabled": True, "tag": "1.0-cuda"},
        "image": {"pullSecrets": [{"name": "pull"}], "pullPolicy": "Always"},
        "wrapperArgs": ["--max_rows", "1000"],
        "env": [{"name": "OMP_NUM_THREADS", "value": "2"}],
        "startupSeconds": 601,
        "services": [{**SERVICE, "resources": {"requests": {"cpu": "500m"}}}],
    },
    "the older names of the modes": {"deploymentMode": "RawDeployment", "services": [SERVICE]},
    "by digest": {"image": {"tag": "", "digest": "sha256:" + "0" * 64}},
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"imag": {}}, "imag"),
    "an unknown key inside": ({"cpu": {"autoselect": True}}, "/cpu"),
    "no tag": ({"image": {"tag": ""}}, "/image"),
    "a tag in the repository": ({"image": {"repository": "r.example.org/ts:1"}}, "/image/repository"),
    "a format that no runtime serves": ({"services": [{**SERVICE, "modelFormat": "onnx"}]}, "/services/0/modelFormat"),
    "a service without a model": ({"services": [{"name": "mnist"}]}, "/services/0"),
    "a storage that KServe does not read": (
        {"services": [{**SERVICE, "storageUri": "ftp://x/y"}]},
        "/services/0/storageUri",
    ),
    "a text for a number": ({"startupSeconds": "long"}, "/startupSeconds"),
    "a mode that there is not": ({"deploymentMode": "ModelMesh"}, "/deploymentMode"),
    "a drain that outlasts the pod": ({"drain": {"gracePeriodSeconds": 30}}, "drain.gracePeriodSeconds"),
    "a service on a GPU without the runtime": ({"services": [{**SERVICE, "gpu": True}]}, "services[0].gpu"),
}


def helm(values: dict[str, Any], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return tools.run("helm", "template", "release", str(CHART), "--namespace", "models", "--values", str(file))


def render(values: dict[str, Any], tmp_path: Path) -> list[Manifest]:
    ran = helm(values, tmp_path)
    assert ran.returncode == 0, ran.stderr
    return [Manifest(CHART / "values.yaml", value) for value in yaml.safe_load_all(ran.stdout) if value]


def test_it_lints() -> None:
    ran = tools.run("helm", "lint", "--strict", str(CHART))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_its_versions_are_the_packages() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert {chart["version"], chart["appVersion"], values["image"]["tag"]} == {__version__}


@pytest.mark.parametrize("case", VALUES)
def test_what_it_renders_is_valid(case: str, tmp_path: Path) -> None:
    found = render(VALUES[case], tmp_path)
    assert {manifest.kind for manifest in found} & set(RUNTIMES)
    place = schemas.directory()
    for manifest in found:
        if place is not None:
            assert schemas.problems(manifest.value, place) == []
        if sdk.missing() is None:
            assert sdk.problems(manifest.value) == []
        assert content.unpinned(manifest.value) == []
    known = content.formats([manifest.value for manifest in found if manifest.kind in RUNTIMES])
    assert [problem for manifest in found for problem in content.unserved(manifest.value, known)] == []
    if place is None:
        pytest.skip("KServe's CRD schemas are absent (set KSERVE_CRDS): checked by KServe's Python package alone")


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused_with_the_keys_path(case: str, tmp_path: Path) -> None:
    values, path = WRONG[case]
    ran = helm(values, tmp_path)
    assert ran.returncode != 0
    assert path in ran.stderr


@pytest.mark.parametrize("suffix", ["", "-gpu"])
def test_on_knative_it_renders_what_the_plain_file_holds(suffix: str, tmp_path: Path) -> None:
    found = render({"deploymentMode": "Knative", "gpu": {"enabled": True}}, tmp_path)
    (made,) = [m.value for m in found if m.name == f"ts-kserve-wrapper{suffix}"]
    ((plain),) = [m.value for m in read(CONFIG / "runtime" / f"cluster-serving-runtime{suffix}.yaml")]
    (container,) = made["spec"]["containers"]
    assert container.pop("imagePullPolicy") == "IfNotPresent"
    assert container.pop("env") == [{"name": "TS_KSERVE_DRAIN_TIMEOUT", "value": "25"}]
    assert made["spec"] == plain["spec"]


def test_in_standard_mode_it_renders_what_the_overlay_makes(tmp_path: Path) -> None:
    overlay = CONFIG / "kustomize" / "overlays" / "standard"
    (built,) = tools.rendered("kubectl", "kustomize", str(overlay), file=overlay / "kustomization.yaml")
    (made,) = render({}, tmp_path)
    (container,) = made.value["spec"]["containers"]
    assert container.pop("imagePullPolicy") == "IfNotPresent"
    container["env"] = [item for item in container["env"] if item["name"] != "TS_KSERVE_DRAIN_TIMEOUT"]
    assert made.value["spec"] == built.value["spec"]


def test_a_services_grace_period_holds_the_drain(tmp_path: Path) -> None:
    found = render({"services": [SERVICE]}, tmp_path)
    (runtime,) = [m for m in found if m.kind in RUNTIMES]
    (service,) = [m for m in found if m.kind == "InferenceService"]
    (container,) = runtime.value["spec"]["containers"]
    grace = service.value["spec"]["predictor"]["terminationGracePeriodSeconds"]
    assert content.drain_seconds(container) < grace


def test_the_startup_probe_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    for seconds in (Settings().worker_limit, 601, 10):
        (runtime,) = render({"startupSeconds": int(seconds)}, tmp_path)
        (container,) = runtime.value["spec"]["containers"]
        probe = container["startupProbe"]
        waited = probe["periodSeconds"] * probe["failureThreshold"]
        assert seconds <= waited < seconds + probe["periodSeconds"]


def test_every_value_is_in_the_schema_and_every_default_passes() -> None:
    """Also where there is no helm."""
    from jsonschema import Draft7Validator

    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert list(Draft7Validator(schema).iter_errors(values)) == []
    assert values.keys() == schema["properties"].keys() - {"global"}
