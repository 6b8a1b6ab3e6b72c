"""Every manifest is valid: no field that KServe or Kubernetes does not know, no value of another type."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from typing import Any

import pytest

from scripts.manifests import sdk
from tests.unit.deploy import discovery, schemas
from tests.unit.deploy.manifests import CONFIG, RUNTIMES, Manifest, everything, of_kind

KSERVE = ("InferenceService", *RUNTIMES)
KUBERNETES = ("PersistentVolumeClaim", "Pod", "Secret", "ServiceAccount", "NetworkPolicy")
#: No schema of these is at hand: they are parsed, and kubectl takes them for objects.
PARSED = ("Gateway", "HTTPRoute", "ScaledObject")
CHECKS = {
    "CRD": KSERVE,
    "KServe's Python package": ("InferenceGraph", "LocalModelCache", "LocalModelNodeGroup"),
    "Kubernetes' schema": KUBERNETES,
    "parsed only": PARSED,
}


LIST = (CONFIG / "kserve" / "README.md").read_text(encoding="utf-8")


def by_schema(manifest: Manifest) -> list[str]:
    place = schemas.directory()
    if place is None:
        pytest.skip("KServe's CRD schemas are absent (set KSERVE_CRDS); the check by KServe's Python package stands in")
    return schemas.problems(manifest, place)


def by_sdk(manifest: Manifest) -> list[str]:
    reason = sdk.missing()
    if reason:
        pytest.skip(reason)
    return sdk.problems(manifest.value)


def test_there_are_manifests() -> None:
    assert len(of_kind("InferenceService")) >= 10
    assert len(of_kind(*RUNTIMES)) == 4


@pytest.mark.parametrize("manifest", of_kind(*KSERVE), ids=str)
def test_valid_by_kserves_own_schema(manifest: Manifest) -> None:
    assert by_schema(manifest) == []


@pytest.mark.parametrize("manifest", [m for m in everything() if m.kind not in (*PARSED, "NetworkPolicy")], ids=str)
def test_valid_by_kserves_python_package(manifest: Manifest) -> None:
    assert by_sdk(manifest) == []


@pytest.mark.parametrize("manifest", of_kind(*KUBERNETES), ids=str)
def test_valid_by_kubernetes_schema(manifest: Manifest) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    validator.validate(manifest.value, validator.latest_version(), strict=True)


def test_the_list_says_of_every_file_when_to_use_it_and_how_it_is_checked() -> None:
    by_kind = {kind: check for check, kinds in CHECKS.items() for kind in kinds}
    rows = re.findall(r"^\| \[([\w-]+\.yaml)\]\(\1\) \| (.+?) \| (.+?) \|$", LIST, re.MULTILINE)
    wanted: dict[str, set[str]] = {}
    for manifest in of_kind(*by_kind):
        if manifest.file.parent.name == "kserve":
            wanted.setdefault(manifest.file.name, set()).add(by_kind[manifest.kind])
    assert {name: set(checks.split(", ")) for name, _, checks in rows} == wanted
    assert all(len(when) > 20 for _, when, _ in rows)
    assert len(of_kind(*by_kind)) == len(everything()), "a kind that nothing checks"


def service(change: Any) -> Manifest:
    manifest = next(m for m in everything() if m.file.name == "torchserve-v2-probes.yaml")
    value = copy.deepcopy(manifest.value)
    change(value["spec"]["predictor"])
    return Manifest(manifest.file, value)


WRONG = {
    "unknown field": (lambda p: p["model"].update(storageURI="gs://x"), "storageURI"),
    "unknown field deep inside": (lambda p: p["model"]["readinessProbe"]["httpGet"].update(url="/"), "url"),
    "a text for a number": (lambda p: p.update(minReplicas="one"), "one"),
    "a field in the wrong place": (lambda p: p.update(protocolVersion="v2"), "protocolVersion"),
    "a list for an object": (lambda p: p["model"].update(readinessProbe=[]), "readinessProbe"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("check", [by_schema, by_sdk])
def test_the_checks_find_what_is_wrong(check: Any, case: str) -> None:
    """A validator that accepts everything would pass the tests above."""
    change, word = WRONG[case]
    found = check(service(change))
    assert found
    assert any(word in problem for problem in found)


def test_the_schema_check_knows_more_than_types() -> None:
    assert by_schema(service(lambda p: p.update(scaleMetric="requests")))
    assert by_schema(service(lambda p: p["model"]["modelFormat"].pop("name")))


def test_kubectl_would_apply_them() -> None:
    """The real kubectl, against a stand-in for the cluster that knows which kinds there are and holds nothing."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    files = [f"--filename={CONFIG / directory}" for directory in ("kserve", "runtime")]
    with discovery.cluster() as url:
        command = [kubectl, f"--server={url}", "apply", "--dry-run=client", "--validate=false", *files]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("created (dry run)") == len(everything())
    for manifest in everything():
        assert f"/{manifest.name} created (dry run)" in ran.stdout
