"""The Kustomize overlays, built by the real kubectl: what they make is valid and is what config/runtime/ says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from kserve_wrapper.modelstore import manifests as content
from kserve_wrapper.settings import ENVIRONMENT_PREFIX, Settings, options
from scripts.manifests import schemas, sdk
from tests.unit.deploy import tools
from tests.unit.deploy.manifests import CONFIG, RUNTIMES, Manifest, read

KUSTOMIZE = CONFIG / "kustomize"
OVERLAYS = sorted(path.name for path in (KUSTOMIZE / "overlays").iterdir())
#: Overlays that make what a file of config/runtime/ holds.
SAME = {
    "cpu": "cluster-serving-runtime.yaml",
    "gpu": "cluster-serving-runtime-gpu.yaml",
    "namespace": "serving-runtime.yaml",
    "namespace-gpu": "serving-runtime-gpu.yaml",
}


def built(overlay: str) -> Manifest:
    file = KUSTOMIZE / "overlays" / overlay / "kustomization.yaml"
    (manifest,) = tools.rendered("kubectl", "kustomize", str(file.parent), file=file)
    return manifest


def container(manifest: Manifest) -> dict[str, Any]:
    (only,) = manifest.value["spec"]["containers"]
    return dict(only)


def test_the_base_is_the_clusters_runtime() -> None:
    """Also where there is no kubectl."""
    (base,) = read(KUSTOMIZE / "base" / "runtime.yaml")
    (plain,) = read(CONFIG / "runtime" / "cluster-serving-runtime.yaml")
    assert base.value == plain.value


@pytest.mark.parametrize("overlay", sorted(SAME))
def test_an_overlay_makes_what_the_plain_file_holds(overlay: str) -> None:
    (plain,) = read(CONFIG / "runtime" / SAME[overlay])
    assert built(overlay).value == plain.value


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_an_overlay_makes_is_valid(overlay: str) -> None:
    manifest = built(overlay)
    place = schemas.directory()
    if place is not None:
        assert schemas.problems(manifest.value, place) == []
    if sdk.missing() is None:
        assert sdk.problems(manifest.value) == []
    assert content.unpinned(manifest.value) == []
    if place is None:
        pytest.skip("KServe's CRD schemas are absent (set KSERVE_CRDS): checked by KServe's Python package alone")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_says_what_it_is_for(overlay: str) -> None:
    assert (KUSTOMIZE / "overlays" / overlay / "kustomization.yaml").read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_standard_mode_gets_what_knative_refuses(overlay: str) -> None:
    """Knative's webhook takes one port, and neither lifecycle nor a grace period."""
    one = container(built(overlay))
    if overlay.startswith("standard"):
        assert [(port["name"], port["containerPort"]) for port in one["ports"]] == [
            ("http1", Settings().http_port),
            ("h2c", Settings().grpc_port),
        ]
        assert one["lifecycle"]["preStop"]["sleep"]["seconds"] > 0
    else:
        assert not {"ports", "lifecycle", "startupProbe"} & one.keys()


def test_the_startup_probe_waits_as_long_as_the_wrapper_does() -> None:
    probe = container(built("standard"))["startupProbe"]
    assert probe["httpGet"] == {"path": "/v2/health/ready", "port": Settings().http_port}
    assert probe["periodSeconds"] * probe["failureThreshold"] == Settings().worker_limit


def test_the_drain_delay_is_the_wrappers_own_setting() -> None:
    (variable,) = [item["name"] for item in container(built("standard"))["env"]]
    assert variable == ENVIRONMENT_PREFIX + "DRAIN_DELAY"
    if "drain_delay" not in {item.name for item in options()}:
        pytest.skip("this wrapper has no --drain_delay, which the overlay sets by its variable")


def test_the_canary_is_never_chosen_by_itself_and_is_named_by_its_service() -> None:
    canary = built("canary")
    assert [item["autoSelect"] for item in canary.value["spec"]["supportedModelFormats"]] == [False]
    (service,) = read(CONFIG / "kserve" / "torchserve-runtime-canary.yaml")
    assert service.value["spec"]["predictor"]["model"]["runtime"] == canary.name


def test_the_overlays_image_is_the_one_to_change(tmp_path: Path) -> None:
    """The image transformer reaches into KServe's kinds too."""
    changed = tmp_path / "kustomize"
    shutil.copytree(KUSTOMIZE, changed)
    file = changed / "overlays" / "gpu" / "kustomization.yaml"
    old = file.read_text(encoding="utf-8")
    file.write_text(old.replace('newTag: "0.2.0"', 'newName: r.example.org/mine\n    newTag: "7"'), encoding="utf-8")
    (manifest,) = tools.rendered("kubectl", "kustomize", str(file.parent), file=file)
    assert container(manifest)["image"] == "r.example.org/mine:7"
    assert manifest.kind in RUNTIMES


def test_an_unknown_key_of_an_overlay_is_refused_by_its_name(tmp_path: Path) -> None:
    changed = tmp_path / "kustomize"
    shutil.copytree(KUSTOMIZE, changed)
    file = changed / "overlays" / "cpu" / "kustomization.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "imagez: []\n", encoding="utf-8")
    ran = tools.run("kubectl", "kustomize", str(file.parent))
    assert ran.returncode != 0
    assert "imagez" in ran.stderr
